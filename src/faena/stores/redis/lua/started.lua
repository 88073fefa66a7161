-- Count the starts of held jobs under their rates once more. ARGV: (id, token)s. Answers s(tale), h(eld) or c(ancel
-- requested) for each.
local leases, ids, answers = cmsgpack.unpack(ARGV[4]), {}, {}
for number, lease in ipairs(leases) do
    ids[number] = lease[1]
end
for number, n in ipairs(find_ids(ids)) do
    local head = n and heads[n]
    if head and head[STATUS] == PROCESSING and head[TOKEN] == leases[number][2] then
        if head[GATES] then
            gate_room().note_start(n, head, true)
        end
        answers[number] = head[CANCEL_REQUESTED] == 1 and 'c' or 'h'
    else
        refused = refused + 1
        answers[number] = 's'
    end
end
flush()
if rooms.gates then
    rooms.gates.write_logs()
end
return table.concat(answers)

-- Make held leases last. ARGV: lease, (id, token)s. Answers s(tale), h(eld) or c(ancel requested) for each.
local until_then = now + tonumber(ARGV[4])
local leases, ids, answers = cmsgpack.unpack(ARGV[5]), {}, {}
for number, lease in ipairs(leases) do
    ids[number] = lease[1]
end
for number, n in ipairs(find_ids(ids)) do
    local head = n and heads[n]
    if head and head[STATUS] == PROCESSING and head[TOKEN] == leases[number][2] then
        head[LEASE_UNTIL] = until_then
        touch(n)
        gather(removals, LEASES, n)  -- first, so that a full Redis does not end leases
        gather(adds, LEASES, score(until_then), n)
        answers[number] = head[CANCEL_REQUESTED] == 1 and 'c' or 'h'
    else
        refused = refused + 1
        answers[number] = 's'
    end
end
flush()
return table.concat(answers)

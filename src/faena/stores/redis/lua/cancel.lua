-- Cancel waiting jobs; ask the holders of running ones to stop. ARGV: result_ttl, ids. Answers c(ancelled),
-- r(equested), f(inal) or u(nknown) for each.
local answers = {}
for number, n in ipairs(find_ids(cmsgpack.unpack(ARGV[5]))) do
    local head = n and heads[n]
    if not head then
        answers[number] = 'u'
    elseif head[STATUS] == PROCESSING then
        if head[CANCEL_REQUESTED] == 0 then
            head[CANCEL_REQUESTED] = 1
            tell(n, EVENT_STATUS, false, 'cancellation requested')
        end
        answers[number] = 'r'
    elseif SOURCES.cancel[head[STATUS]] then
        finish_now(head, tonumber(ARGV[4]))
        move(n, 'cancel')
        answers[number] = 'c'
    else
        answers[number] = 'f'
    end
end
even_if_full()  -- asking the holder of a job to stop frees nothing by itself
flush()
return table.concat(answers)

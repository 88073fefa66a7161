-- Give a waiting job another priority or due time. ARGV: id, priority, delay, due ('' : as it is). Answers whether it took
-- the change over, whether it is held back, and the job.
local n = find_ids({ARGV[4]})[1]
local head = n and heads[n]
if not head then
    return {0, 0, ''}
end
if head[STATUS] ~= PENDING and head[STATUS] ~= SCHEDULED_STATUS then
    return {0, 0, answer({n})}
end
leave(n, head)
head[PRIORITY] = tonumber(ARGV[5]) or head[PRIORITY]
local delay = tonumber(ARGV[6])
head[DUE_AT] = tonumber(ARGV[7]) or (delay and now + delay) or head[DUE_AT]
head[STATUS] = TARGETS[head[DUE_AT] > now and 'postpone' or 'promote']
enter(n, head)
tell(n, EVENT_STATUS, false, 'changed')
flush()
return {1, held_back(head) and 1 or 0, answer({n})}

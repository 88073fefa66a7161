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
local due_at = tonumber(ARGV[7]) or (delay and now + delay)
if due_at then
    head[DUE_AT] = due_at
    head[STATUS] = TARGETS[due_at > now and 'postpone' or 'promote']
end
enter(n, head)
tell(n, EVENT_STATUS, false, 'changed')
flush()
return {1, held_back(head) and 1 or 0, answer({n})}

-- Resume a queue or a task. ARGV: q or t, and its name in one. Answers whether it was paused.
if redis.call('HDEL', PAUSED, ARGV[4]) == 0 then
    return 0
end
local kind, name = string.sub(ARGV[4], 1, 1), string.sub(ARGV[4], 2)
if kind == 'q' then
    redis.call('PUBLISH', ROOT .. 'work', name)
    return 1
end
local loud = {}
for _, packed in ipairs(redis.call('SMEMBERS', ROOT .. 'pp:' .. name)) do
    local queue, priority, text = cmsgpack.unpack(packed)
    redis.call('ZADD', lane_room().rank_of(queue, priority).closed, 'XX', 0, text)
    loud[queue] = true
end
for queue in pairs(loud) do
    redis.call('PUBLISH', ROOT .. 'work', queue)
end
return 1

-- Pause or resume a schedule, set when it goes next. ARGV: name, paused ('' : as it is), next_at ('' : as it is). Answers it.
local SCHEDULES = ROOT .. 'schedules'
local packed = redis.call('HGET', SCHEDULES, ARGV[4])
if not packed then
    return false
end
local schedule = cmsgpack.unpack(packed)
if ARGV[5] ~= '' then
    schedule[2] = ARGV[5] == '1'
end
schedule[3] = tonumber(ARGV[6]) or schedule[3]
packed = cmsgpack.pack(schedule)
redis.call('HDEL', SCHEDULES, ARGV[4])  -- first, so that a full Redis can be told to pause one
redis.call('HSET', SCHEDULES, ARGV[4], packed)
return packed

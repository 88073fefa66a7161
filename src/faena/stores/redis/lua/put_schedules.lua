-- Keep schedules. ARGV: schedules (name, definition, paused, next_at). One is stored as (definition, paused, next_at,
-- created_at, last_at, last_job, runs, skipped).
local SCHEDULES = ROOT .. 'schedules'
for _, new in ipairs(cmsgpack.unpack(ARGV[4])) do
    local packed = redis.call('HGET', SCHEDULES, new[1])
    local there = packed and cmsgpack.unpack(packed)
    if not there then
        there = {new[2], new[3], new[4], now, false, false, 0, 0}
    elseif there[1] ~= new[2] then
        there[1], there[3] = new[2], new[4]
    end
    redis.call('HSET', SCHEDULES, new[1], cmsgpack.pack(there))
end
return 1

-- Take a tick of a schedule: insert its jobs and set when it goes next. ARGV: result_ttl, name, at, next_at, missed, jobs,
-- their bodies. Answers as insert does; nothing if somebody else was first, or it is paused or gone.
local SCHEDULES = ROOT .. 'schedules'
local packed = redis.call('HGET', SCHEDULES, ARGV[5])
local schedule = packed and cmsgpack.unpack(packed)
if not schedule or schedule[2] or schedule[3] ~= tonumber(ARGV[6]) then
    return false
end
local kinds, numbers = decide_all(cmsgpack.unpack(ARGV[9]), 10, tonumber(ARGV[4]))
schedule[3], schedule[5] = tonumber(ARGV[7]) or false, schedule[3]
for number, kind in ipairs(kinds) do
    if kind == CREATED then
        schedule[6], schedule[7] = heads[numbers[number]][ID], schedule[7] + 1
    else
        schedule[8] = schedule[8] + 1
    end
end
schedule[8] = schedule[8] + tonumber(ARGV[8])
gather(sets, SCHEDULES, ARGV[5], cmsgpack.pack(schedule))
write_all()
return answer_all(kinds, numbers)

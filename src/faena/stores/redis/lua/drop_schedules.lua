-- Forget schedules. ARGV: names. Answers how many there were.
local dropped = 0
for _, name in ipairs(cmsgpack.unpack(ARGV[4])) do
    dropped = dropped + redis.call('HDEL', ROOT .. 'schedules', name)
end
return dropped

-- Make due jobs pending. ARGV: limit. Answers their deliveries, and the seconds until the next one ('' if none).
local numbers = redis.call('ZRANGEBYSCORE', SCHEDULED, '-inf', now, 'LIMIT', 0, tonumber(ARGV[4]))
load(numbers)
for _, n in ipairs(numbers) do
    move(n, 'promote')
end
flush()
local following = redis.call('ZRANGE', SCHEDULED, 0, 0, 'WITHSCORES')
local wait = following[2] and string.format('%.17g', math.max(0, tonumber(following[2]) - now)) or ''
if #numbers >= tonumber(ARGV[4]) then
    wait = '0'  -- there may be more
end
return {deliveries(delivered(numbers)), wait}

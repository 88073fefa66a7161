-- Correct store time by so many seconds, unless somebody else did meanwhile. ARGV: seconds, the version to be corrected.
-- Answers whether it was done.
local version = redis.call('HGET', META, 'clock_version') or '0'
local correction = tonumber(redis.call('HGET', META, 'correction') or 0)
if version ~= ARGV[5] then
    return 0
end
redis.call('HDEL', META, 'correction')  -- first, so that a full Redis can be set right
redis.call('HSET', META, 'correction', score(correction + tonumber(ARGV[4])))
redis.call('HINCRBY', META, 'clock_version', 1)
return 1

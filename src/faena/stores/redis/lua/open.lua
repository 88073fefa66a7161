-- Begin an epoch if there is none. A clock that was corrected goes back to the server's when nothing hangs on it: no job is
-- held, and no gate remembers a start. Answers the schema's version, the epoch, and the number of refused writes.
if ARGV[4] == 'settle' then
    redis.call('PUBLISH', ROOT .. 'feed', '')  -- first: whoever may not do that stores nothing
end
begin()
local correction = tonumber(redis.call('HGET', META, 'correction') or 0)
if ARGV[4] == 'settle' and correction ~= 0 and redis.call('EXISTS', LEASES, ROOT .. 'gates') == 0 then
    redis.call('HDEL', META, 'correction')
    redis.call('HINCRBY', META, 'clock_version', 1)
end
return redis.call('HMGET', META, 'schema', 'epoch', 'refused')

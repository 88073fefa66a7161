-- Pause a queue or a task. ARGV: q or t, and its name in one. Answers whether it was not.
if redis.call('HEXISTS', PAUSED, ARGV[4]) == 1 then
    return 0
end
redis.call('HDEL', PAUSED, ARGV[4])  -- first, so that a full Redis can be told to pause
redis.call('HSET', PAUSED, ARGV[4], score(now))
return 1

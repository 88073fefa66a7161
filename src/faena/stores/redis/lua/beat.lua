-- Remember a worker. ARGV: id, ttl, its description. Answers the epoch, and now.
redis.call('HDEL', WORKERS, ARGV[4])  -- first, so that a full Redis still knows its workers
redis.call('HSET', WORKERS, ARGV[4], cmsgpack.pack(now + tonumber(ARGV[5]), now, ARGV[6]))
begin()
return {redis.call('HGET', META, 'epoch'), score(now)}

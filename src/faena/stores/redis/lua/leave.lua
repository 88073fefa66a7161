-- Forget a worker. ARGV: id.
return redis.call('HDEL', WORKERS, ARGV[4])

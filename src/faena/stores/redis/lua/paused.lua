-- Return what is paused: q or t with the name, and since when.
return redis.call('HGETALL', PAUSED)

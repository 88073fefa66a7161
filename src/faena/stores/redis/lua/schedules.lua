-- Return all schedules: names and what is stored.
return redis.call('HGETALL', ROOT .. 'schedules')

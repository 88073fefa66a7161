-- Begin an epoch if there is none. Answers the schema's version, the epoch, and the number of refused writes.
begin()
return redis.call('HMGET', META, 'schema', 'epoch', 'refused')

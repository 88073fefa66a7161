-- Return store time, and which version of the correction it has.
return {score(now), redis.call('HGET', META, 'clock_version') or '0'}

-- Delete final jobs whose TTL is over, and old parts of the logs. ARGV: limit. Answers how many.
local numbers = redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', now, 'LIMIT', 0, tonumber(ARGV[4]))
local ids, emptied = {}, {}
load(numbers)
for position, n in ipairs(numbers) do
    local head = heads[n]
    leave(n, head)
    ids[position] = head[ID]
    emptied[head[PLACE]] = true
    if head[KEPT_FROM] > 1 then
        redis.call('DEL', ROOT .. 'h:' .. n)
    end
    if head[USER] then
        gather(removals, ROOT .. 'u:' .. head[USER], n)
    end
    if head[KEY] and head[KEY_UNTIL] then
        local key = cmsgpack.pack(place(head[PLACE]).task, head[KEY])
        if redis.call('HGET', HOLDERS, key) == n then
            gather(deletions, HOLDERS, key)
        end
    end
    if head[ORIGIN] then
        gather(removals, ROOT .. 'o:' .. head[ORIGIN], n)
    end
end
for key, list in pairs(removals) do
    send('ZREM', key, list)
end
send('HDEL', IDS, ids)
for key, list in pairs(deletions) do
    send('HDEL', key, list)
end
for _, key in ipairs({HEADS, BODIES, EVENTS, RESULTS, CHECKPOINTS}) do
    send('HDEL', key, numbers)
end
for number in pairs(emptied) do
    local keys = {}
    for status = 0, 5 do
        keys[#keys + 1] = index(number, status)
    end
    if redis.call('EXISTS', unpack(keys)) == 0 then
        redis.call('HDEL', PLACE_OF, place(number).packed)
        redis.call('HDEL', PLACES, number)
    end
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', ROOT .. 'gates', '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('DEL', ROOT .. 'gs:' .. name)
    redis.call('HDEL', ROOT .. 'gate_needs', name)
    redis.call('ZREM', ROOT .. 'gates', name)
end
local requests = redis.call('ZRANGEBYSCORE', ROOT .. 'requests_end', '-inf', now, 'LIMIT', 0, CHUNK)
if #requests > 0 then
    redis.call('HDEL', ROOT .. 'requests', unpack(requests))
    redis.call('ZREM', ROOT .. 'requests_end', unpack(requests))
end
local workers = redis.call('HGETALL', WORKERS)
for position = 1, #workers, 2 do
    if cmsgpack.unpack(workers[position + 1]) <= now then
        redis.call('HDEL', WORKERS, workers[position])
    end
end
local last = tonumber(redis.call('HGET', META, 'position') or nil)
if last then
    feed_trim(last)
end
return #numbers

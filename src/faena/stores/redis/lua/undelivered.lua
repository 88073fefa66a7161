-- Find pending jobs that the engine must have lost, and mark them as delivered now. ARGV: age, limit, empty queues.
local before, limit = now - tonumber(ARGV[4]), tonumber(ARGV[5])
local open_before = string.format('(%.17g', before)
local numbers, seen = {}, {}
local function add(n)
    if not seen[n] and #numbers < limit then
        seen[n] = true
        numbers[#numbers + 1] = n
    end
end
for _, queue in ipairs(cmsgpack.unpack(ARGV[6])) do
    for _, n in ipairs(redis.call('ZRANGEBYSCORE', ROOT .. 'd:' .. queue, '-inf', open_before, 'LIMIT', 0, limit)) do
        add(n)
    end
end
local STEP, FURTHEST = 200, 10000
-- Overtaken is what was sent before that became due which was claimed. Nothing is sent before it is due.
local function overtaken(key, queue, due)
    local sent_before = math.min(before, due)
    local open_due = string.format('(%.17g', sent_before)
    for offset = 0, FURTHEST, STEP do
        local some = redis.call('ZRANGEBYSCORE', key, '-inf', open_due, 'LIMIT', offset, STEP)
        if #some == 0 or #numbers >= limit then
            return
        end
        for position, delivered in ipairs(redis.call('ZMSCORE', ROOT .. 'd:' .. queue, unpack(some))) do
            if delivered and tonumber(delivered) < sent_before then
                add(some[position])
            end
        end
    end
end
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
    for _, priority in ipairs(redis.call('ZRANGE', ROOT .. 'q:' .. queue, 0, -1)) do
        local turn = redis.call('ZREVRANGEBYSCORE', ROOT .. 't:' .. priority .. ':' .. queue, math.floor(before) - 1,
            '-inf', 'LIMIT', 0, 1)[1]
        if turn then
            local due = tonumber(string.match(turn, ':(.*)$'))
            overtaken(pending(queue, priority), queue, due)
            overtaken(lane_room().rank_of(queue, priority).out, queue, due)
        end
    end
end
load(numbers)
for _, n in ipairs(numbers) do
    heads[n][DELIVERED_AT] = now
    touch(n)
    gather(removals, ROOT .. 'd:' .. place(heads[n][PLACE]).queue, n)
    gather(adds, ROOT .. 'd:' .. place(heads[n][PLACE]).queue, score(now), n)
end
flush()
return deliveries(numbers)

-- What both claims share: the repeated request, and the taking itself.
local REQUEST = ROOT .. 'r:' .. ARGV[6]

-- Return what this request took before and still holds; nil if it is new.
local function repeated()
    local packed = redis.call('GET', REQUEST)
    if not packed then
        return nil
    end
    local taken, numbers, held = cmsgpack.unpack(packed), {}, {}
    for position = 1, #taken, 2 do
        numbers[#numbers + 1] = taken[position]
    end
    load(numbers)
    for position = 1, #taken, 2 do
        local head = heads[taken[position]]
        if head and head[STATUS] == PROCESSING and head[TOKEN] == taken[position + 1] then
            held[#held + 1] = taken[position]
        end
    end
    return answer(held)
end

-- Note how far each queue's claims had come in each second: who is behind was overtaken. The latest due time is
-- carried on from second to second, so only the newest note before a moment counts.
local function note_turn(key, due)
    local second = math.floor(now)
    local latest = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
    if latest[1] then
        due = math.max(due, tonumber(string.match(latest[1], ':(.*)$')))
        if tonumber(latest[2]) == second then
            redis.call('ZREM', key, latest[1])
        else
            redis.call('ZREMRANGEBYSCORE', key, '-inf', second - TURNS_KEPT)
        end
    end
    redis.call('ZADD', key, second, string.format('%.0f:%.17g', second, due))
    redis.call('EXPIRE', key, 86400)
end

local function take(numbers)
    local turns, taken = {}, {}
    for _, n in ipairs(numbers) do
        local head = heads[n]
        head[ATTEMPT] = head[ATTEMPT] + 1
        head[TOKEN] = head[TOKEN] + 1
        head[WORKER] = ARGV[4]
        head[STARTED_AT] = now
        head[LEASE_UNTIL] = now + tonumber(ARGV[5])
        head[PROGRESS] = 0
        head[MESSAGE] = false
        head[REPORTED] = 0
        head[LAST_STEP] = false
        move(n, 'claim')
        if head[GATES] then
            gate_room().note_start(n, head)
        end
        local key = pending_of(place(head[PLACE]), head[PRIORITY])
        turns[key] = math.max(head[DUE_AT], turns[key] or head[DUE_AT])
        taken[#taken + 1] = n
        taken[#taken + 1] = head[TOKEN]
    end
    if #dirty > 0 then
        flush()
        if rooms.gates then
            rooms.gates.write_logs()
        end
    end
    if #numbers > 0 then
        redis.call('SET', REQUEST, cmsgpack.pack(taken), 'EX', REQUEST_KEPT)
        for key, due in pairs(turns) do
            note_turn(ROOT .. 't' .. string.sub(key, #ROOT + 2), due)
        end
    end
    return answer(numbers)
end

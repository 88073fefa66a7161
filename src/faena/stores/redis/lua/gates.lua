-- Which gates let a job through, and what a start leaves in their logs. A gate is judged once a script; what the script
-- takes itself is counted beside.

local function open_gates()

local lanes = lane_room()
local GATES_END, GATE_NEEDS = ROOT .. 'gates', ROOT .. 'gate_needs'
local noted_logs = {}

-- Return how many more jobs a gate lets start now; `admitting`: those that were given out before are counted, too.
local function room(gate, admitting)
    local log = gate.log
    if not gate.room then
        gate.room = math.huge
        for _, window in ipairs(gate.windows) do
            local started = redis.call('ZCOUNT', log.starts, '(' .. score(now - window[2]), '+inf')
            gate.room = math.min(gate.room, window[1] - started)
        end
        if gate.at_once then
            gate.room = math.min(gate.room, gate.at_once - redis.call('ZCARD', log.running))
        end
    end
    if not admitting then
        return gate.room - log.taken
    end
    log.before = log.before or redis.call('ZCARD', log.out)
    return gate.room - log.taken - log.given - log.before
end

-- Return when a gate that is closed may open: the time, or infinity if that hangs on a running job.
local function opens_at(gate)
    local log, opens = gate.log, 0
    if gate.at_once and redis.call('ZCARD', log.running) + log.taken >= gate.at_once then
        return math.huge
    end
    for _, window in ipairs(gate.windows) do
        local place_in_log = window[1] - 1 - log.taken
        if place_in_log < 0 then
            opens = math.max(opens, (log.at or now) + window[2])
        else
            local start = redis.call('ZREVRANGE', log.starts, place_in_log, place_in_log, 'WITHSCORES')[2]
            if start and tonumber(start) > now - window[2] then
                opens = math.max(opens, tonumber(start) + window[2])
            end
        end
    end
    return opens
end

-- Return the first gate of a list that lets nobody through, or nothing.
local function closed_gate(gates, admitting)
    for _, gate in ipairs(gates) do
        if room(gate, admitting) <= 0 then
            return gate
        end
    end
end

local function count_taken(gates, admitting)
    local field = admitting and 'given' or 'taken'
    for position, gate in ipairs(gates) do
        if position == 1 or gates[position - 1].name ~= gate.name then
            gate.log[field] = gate.log[field] + 1
        end
    end
end

-- Note a start and a slot under each gate of a job that is taken. Times in a log never go back.
local function note_start(n, head)
    for _, gate in ipairs(lanes.gates_of(head[GATES])) do
        local log = gate.log
        if #gate.windows > 0 then
            if not log.at then
                local last = redis.call('ZREVRANGE', log.starts, 0, 0, 'WITHSCORES')[2]
                log.at = math.max(now, tonumber(last or 0))
                noted_logs[#noted_logs + 1] = log
            end
            log.noted[gate.text] = gate
            gather(adds, log.starts, score(log.at), n .. ':' .. head[TOKEN])
        end
        if gate.at_once then
            gather(adds, log.running, score(now), n)
        end
    end
end

-- After a flush: keep of the logs what the longest window and the largest count that were ever seen need.
local function trim()
    for _, log in ipairs(noted_logs) do
        local packed = redis.call('HGET', GATE_NEEDS, log.name)
        local longest, most = 0, 0
        if packed then
            longest, most = cmsgpack.unpack(packed)
        end
        local longest_now, most_now = longest, most
        for _, gate in pairs(log.noted) do
            for _, window in ipairs(gate.windows) do
                longest_now, most_now = math.max(longest_now, window[2]), math.max(most_now, window[1])
            end
        end
        if longest_now ~= longest or most_now ~= most then
            redis.call('HSET', GATE_NEEDS, log.name, cmsgpack.pack(longest_now, most_now))
        end
        redis.call('ZADD', GATES_END, score(log.at + longest_now), log.name)
        redis.call('ZREMRANGEBYRANK', log.starts, 0, -(most_now + 1))
        redis.call('ZREMRANGEBYSCORE', log.starts, '-inf', score(now - longest_now))
    end
end

return {room = room, opens_at = opens_at, closed_gate = closed_gate, count_taken = count_taken, note_start = note_start, trim = trim}

end

local function gate_room()
    rooms.gates = rooms.gates or open_gates()
    return rooms.gates
end

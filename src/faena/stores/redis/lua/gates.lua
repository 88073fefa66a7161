-- Which gates let a job through, and what a start leaves in their logs. A gate is judged once a script; what the script
-- takes itself is counted beside.

local function open_gates()

local lanes = lane_room()
local GATES_END, GATE_NEEDS = ROOT .. 'gates', ROOT .. 'gate_needs'
local noted_logs = {}

-- A log has one entry for the starts of a script: its score is their time, and its member the number of all starts so
-- far, with fixed width, and how many of them these were.
local function entry_of(member)
    local total, count = string.match(member, '^(%d+):(%d+)$')
    return tonumber(total), tonumber(count)
end

local function total_of(log)
    if not log.total then
        local last = redis.call('ZREVRANGE', log.starts, 0, 0, 'WITHSCORES')
        log.total = last[1] and entry_of(last[1]) or 0
        log.at = math.max(now, tonumber(last[2] or 0))  -- times in a log never go back
    end
    return log.total
end

-- Return how many starts are less than `period` ago.
local function started(log, period)
    local total = total_of(log)
    local before = redis.call('ZREVRANGEBYSCORE', log.starts, score(now - period), '-inf', 'LIMIT', 0, 1)[1]
    if before then
        return total - entry_of(before)
    end
    local first = redis.call('ZRANGE', log.starts, 0, 0)[1]
    if not first then
        return 0
    end
    local first_total, count = entry_of(first)
    return total - first_total + count
end

-- Return when the start of that number was (nothing if it is no longer kept).
local function start_at(log, number)
    local low, high = 0, redis.call('ZCARD', log.starts) - 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        if entry_of(redis.call('ZRANGE', log.starts, middle, middle)[1]) >= number then
            high = middle
        else
            low = middle + 1
        end
    end
    local found = redis.call('ZRANGE', log.starts, low, low, 'WITHSCORES')
    return tonumber(found[2])
end

-- Return how many more jobs a gate lets start now; `admitting`: those that were given out before are counted, too.
local function room(gate, admitting)
    local log = gate.log
    if not gate.room then
        gate.room = math.huge
        for _, window in ipairs(gate.windows) do
            gate.room = math.min(gate.room, window[1] - started(log, window[2]))
        end
        if gate.at_once then
            gate.room = math.min(gate.room, gate.at_once - redis.call('SCARD', log.running))
        end
    end
    if not admitting then
        return gate.room - log.taken
    end
    log.before = log.before or redis.call('ZCARD', log.out)
    return gate.room - log.taken - log.given - log.before
end

-- Return when a gate may open behind which so many more are on their way: the time, or infinity if that hangs on a job
-- that runs or is on its way.
local function opens_at(gate, more)
    local log, opens = gate.log, 0
    if gate.at_once and redis.call('SCARD', log.running) + more >= gate.at_once then
        return math.huge
    end
    for _, window in ipairs(gate.windows) do
        local total = total_of(log)
        local number = total + more - window[1] + 1  -- the start that has to be long enough ago
        local at = number > total + log.taken and math.huge or number > total and log.at
            or number > 0 and start_at(log, number) or 0
        if at > now - window[2] then
            opens = math.max(opens, at + window[2])
        end
    end
    return opens
end

-- Return when a closed gate is to be looked at again, as `closed` keeps it.
local function opens_for(gate)
    local log = gate.log
    if room(gate) > 0 then
        return -opens_at(gate, log.taken + log.given + log.before)
    end
    return opens_at(gate, log.taken)
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

-- Note a start and a slot under each gate of a job that is taken; `anew`: it has its slots already.
local function note_start(n, head, anew)
    for _, gate in ipairs(lanes.gates_of(head[GATES])) do
        local log = gate.log
        if gate.limits_starts then
            if not log.started then
                total_of(log)
                log.started = {}
                noted_logs[#noted_logs + 1] = log
            end
            log.started[n] = true
            log.noted[gate.text] = gate
        end
        if gate.at_once and not anew then
            gather(lanes.joins, log.running, n)
        end
    end
end

local function write_log(log)
    local packed, count = redis.call('HGET', GATE_NEEDS, log.name), 0
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
    for _ in pairs(log.started) do
        count = count + 1
    end
    redis.call('ZADD', log.starts, score(log.at), string.format('%015.0f:%.0f', log.total + count, count))
    redis.call('ZADD', GATES_END, score(log.at + longest_now), log.name)
    redis.call('ZREMRANGEBYRANK', log.starts, 0, -(most_now + 1))
    redis.call('ZREMRANGEBYSCORE', log.starts, '-inf', score(now - longest_now))
end

-- After a flush: write the logs, and keep of each what the longest window and the largest count ever seen need.
local function write_logs()
    for _, log in ipairs(noted_logs) do
        write_log(log)
    end
end

return {room = room, opens_at = opens_at, opens_for = opens_for, closed_gate = closed_gate, count_taken = count_taken, note_start = note_start, write_logs = write_logs}

end

local function gate_room()
    rooms.gates = rooms.gates or open_gates()
    return rooms.gates
end

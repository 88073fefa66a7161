-- Whose job is next among the lanes of a queue and priority: lanes that may go take turns, the one that was served longest
-- ago first. Those that meet a closed gate go behind it, so that nobody looks at them again before it opens.

local function open_serving()

local lanes, gates = lane_room(), gate_room()
local LOOKED_AT = 200              -- lanes beyond the jobs wanted that one script looks at
local GATES_LOOKED_AT = 20         -- the same for gates that opened
local OTHERS = ROOT .. 'turns'     -- which ranks served a lane last, rather than the plain line
local turn_now, first_turn

local function next_turn()
    if not turn_now then
        turn_now = tonumber(redis.call('HGET', META, 'turn') or 0)
        first_turn = turn_now
    end
    turn_now = turn_now + 1
    return turn_now
end

-- Say what stops a lane now, and until when; nothing if it may go.
local function stopped_by(lane, admitting)
    if is_paused('t', lane.task) then
        return lanes.PAUSE .. lane.task, math.huge
    end
    local gate = gates.closed_gate(lane.list, admitting)
    if gate then
        return gate.text, gates.opens_for(gate)
    end
end

-- Make lanes candidates again whose gate opened, no more than it has room for.
local function look_at_gates(rank, want, admitting)
    local opened = redis.call('ZRANGEBYSCORE', rank.closed, admitting and score(-now) or '-inf', score(now), 'LIMIT', 0,
        math.max(want, GATES_LOOKED_AT))
    for _, text in ipairs(opened) do
        local places_of, most, opens = lanes.places_behind(text), want, nil
        if text ~= lanes.ALL_OUT and string.sub(text, 1, #lanes.PAUSE) ~= lanes.PAUSE then
            local gate = lanes.gate_of(cmsgpack.unpack(text))
            local free_now = gates.room(gate, admitting)
            if free_now <= 0 then
                opens = gates.opens_for(gate)
            end
            most = math.min(want, free_now)
        elseif places_of and is_paused('t', string.sub(text, #lanes.PAUSE + 1)) then
            opens = math.huge
        end
        if opens then
            redis.call('ZREM', rank.closed, text)
            redis.call('ZADD', rank.closed, score(opens), text)
        else
            lanes.let_through(rank, text, most)
        end
    end
    return #opened > 0
end

local function lane_named(id, rank)
    local at, packed = string.match(id, '^-?%d+:(%d+):'), redis.call('HGET', lanes.LANES, id)
    if not packed then
        redis.call('ZREM', rank.ready, id)
        return nil
    end
    return lanes.lane_by(id, place(tonumber(at)), rank.priority, packed)
end

-- Begin to serve a rank: up to `want` jobs.
local function serve(rank, want, admitting)
    return {rank = rank, want = want, admitting = admitting, unseen = {}, first = 1, again = {}, again_first = 1,
        kept = 0, budget = want + LOOKED_AT, looks = 0}
end

local function fetch_lanes(serving)
    local found
    repeat
        local opened = serving.looks < 10 and look_at_gates(serving.rank, serving.want, serving.admitting)
        serving.looks = serving.looks + 1
        found = redis.call('ZRANGE', serving.rank.ready, serving.kept, serving.kept + serving.want - 1,
            'WITHSCORES')
    until #found > 0 or not opened
    serving.unseen, serving.first = found, 1
    serving.share = serving.share or math.max(1, math.ceil(serving.want / math.max(1, #found / 2)))
    serving.exhausted = #found < 2 * serving.want
end

-- Merge those that wait in a lane and those that were given out from it, by due time.
local function merge(held, given, size)
    local jobs, h, g = {}, 1, 1
    while #jobs < size and (held[h] or given[g]) do
        local due, other = tonumber(held[h + 1] or 'inf'), tonumber(given[g + 1] or 'inf')
        if due < other or (due == other and held[h] < given[g]) then
            jobs[#jobs + 1], h = held[h], h + 2
        else
            jobs[#jobs + 1], g = given[g], g + 2
        end
    end
    return jobs, (h - 1) / 2, (g - 1) / 2
end

-- Read a lane's next jobs: a fair share of those that are wanted, then twice as many.
local function fetch_jobs(lane, serving)
    local held, given, size = lane.held_read or 0, lane.given_read or 0, lane.size or serving.share
    if serving.admitting or redis.call('EXISTS', lane.out) == 0 then
        lane.jobs = redis.call('ZRANGE', lane.held, held, held + size - 1)
        held = held + #lane.jobs
    else
        local of_held, of_given
        lane.jobs, of_held, of_given = merge(redis.call('ZRANGE', lane.held, held, held + size - 1, 'WITHSCORES'),
            redis.call('ZRANGE', lane.out, given, given + size - 1, 'WITHSCORES'), size)
        held, given = held + of_held, given + of_given
    end
    lane.held_read, lane.given_read, lane.size, lane.job = held, given, size * 2, 1
    return #lane.jobs > 0
end

local function next_lane(serving)
    if serving.first > #serving.unseen and serving.budget > 0 and not serving.exhausted then
        fetch_lanes(serving)
    end
    local id = serving.unseen[serving.first]
    if id then
        local lane, turn = lane_named(id, serving.rank), serving.unseen[serving.first + 1]
        serving.first = serving.first + 2
        serving.budget = serving.budget - 1
        if not lane or lane.seen then
            return next_lane(serving)
        end
        lane.turn, lane.seen, lane.list = turn, true, lanes.gates_of(lane.gates)
        serving.kept = serving.kept + 1
        return lane
    end
    local lane = serving.again[serving.again_first]
    serving.again_first = serving.again_first + 1
    return lane
end

-- Return the next lane that may go and has a job; nothing if there is none.
local function open_lane(serving)
    local lane = next_lane(serving)
    while lane do
        local text, opens = stopped_by(lane, serving.admitting)
        if not text and ((lane.jobs and lane.jobs[lane.job]) or fetch_jobs(lane, serving)) then
            return lane
        end
        if not text and serving.admitting and lane.held_read == 0 then
            text, opens = lanes.ALL_OUT, -math.huge
        end
        if text then
            lanes.send_behind(lane, lane.turn, text, opens)
            lane.served, lane.seen = false, false
            serving.kept, serving.exhausted = serving.kept - 1, false
        end
        lane = next_lane(serving)
    end
end

-- Return the next job, counted under its gates; nothing if no lane has one that may go.
local function next_job(serving)
    local lane = serving.peeked or open_lane(serving)
    serving.peeked = nil
    if not lane then
        return nil
    end
    local n = lane.jobs[lane.job]
    lane.job = lane.job + 1
    lane.turn, lane.served = next_turn(), true
    gates.count_taken(lane.list, serving.admitting)
    serving.again[#serving.again + 1] = lane
    return n
end

-- Take turns between the plain line (a list) and the lanes of a rank.
local function alternate(rank, plain, serving, numbers, want)
    local lane_was_last, position = redis.call('HGET', OTHERS, rank.name) == '1', 1
    local before = lane_was_last
    while #numbers < want do
        serving.peeked = serving.peeked or open_lane(serving)
        local n
        if plain[position] and (lane_was_last or not serving.peeked) then
            n, position, lane_was_last = plain[position], position + 1, false
        elseif serving.peeked then
            n, lane_was_last = next_job(serving), true
        else
            break
        end
        numbers[#numbers + 1] = n
    end
    if lane_was_last ~= before then
        redis.call('HDEL', OTHERS, rank.name)
        if lane_was_last then
            redis.call('HSET', OTHERS, rank.name, '1')
        end
    end
end

-- Remember the turns of the lanes that were served.
function lanes.before_settling()
    if not turn_now then
        return
    end
    redis.call('HINCRBY', META, 'turn', turn_now - first_turn)
    for _, lane in pairs(lanes.lanes) do
        if lane.served and redis.call('ZSCORE', lane.rank.ready, lane.id) then
            redis.call('ZADD', lane.rank.ready, lane.turn, lane.id)
        end
    end
end

return {serve = serve, open_lane = open_lane, alternate = alternate}

end

local function serving_room()
    rooms.serving = rooms.serving or open_serving()
    return rooms.serving
end

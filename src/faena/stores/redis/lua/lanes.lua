-- Where jobs wait that bear gates, or whose task is paused: in lanes. A lane is a queue, a priority, a task and the gates
-- as a whole. Of each queue and priority (a rank), `ready` holds the lanes that may go by their turn; a lane that a gate
-- stopped waits `behind` it, and `closed` says when the gate opens (0: look now). So closed lanes are never looked at. A
-- gate that is closed only for further deliveries, because of those that are not claimed yet, has its time below zero
-- (-inf: it hangs on them alone): claims look at it, and `admit` when that time has come.
--
-- Plain jobs need nothing of all this, so the room is opened only when a job asks for it: making its functions takes
-- longer than storing a job.

local HELD, GIVEN_OUT = 1, 2       -- what a head says under LANE: waits in one, was given out for delivery from one
local rooms = {}

local function open_lanes()

local LANES, LANE_AT = ROOT .. 'lanes', ROOT .. 'lane_at'
local ALL_OUT = 'all out'          -- what lanes wait behind whose jobs were all given out: no gate for direct claims

local gates, gate_lists, gate_logs, lanes, touched, pokes = {}, {}, {}, {}, {}, {}
local room = {lanes = lanes, joins = {}, leaves = {}}  -- who joins and leaves the sets of those that run behind a gate

-- A gate's log, and the keys that belong to its name whatever the rules.
local function log_of(name)
    local log = gate_logs[name]
    if not log then
        log = {name = name, starts = ROOT .. 'gs:' .. name, running = ROOT .. 'gh:' .. name,
            out = ROOT .. 'ga:' .. name, places = ROOT .. 'gp:' .. name, taken = 0, given = 0, noted = {}}
        gate_logs[name] = log
    end
    return log
end

local function gate_of(parts)
    local text = cmsgpack.pack(parts)
    local gate = gates[text]
    if not gate then
        gate = {name = parts[1], at_once = parts[2], windows = parts[3], limits_starts = #parts[3] > 0,
            text = text, log = log_of(parts[1])}
        gates[text] = gate
    end
    return gate
end

-- Return the gates that a head bears, which holds them as JSON.
local function gates_of(packed)
    local list = gate_lists[packed or '']
    if not list then
        list = {}
        for position, parts in ipairs(packed and packed ~= '' and cjson.decode(packed) or {}) do
            list[position] = gate_of(parts)
        end
        gate_lists[packed or ''] = list
    end
    return list
end

local function rank_of(queue, priority)
    priority = tonumber(priority)
    local name = priority .. ':' .. queue
    return {queue = queue, priority = priority, ready = ROOT .. 'lr:' .. name, closed = ROOT .. 'lc:' .. name,
        out = ROOT .. 'a:' .. name, withheld = ROOT .. 'w:' .. name, name = name}
end

local function behind(rank, text)
    return ROOT .. 'lb:' .. redis.sha1hex(text) .. ':' .. rank.name
end

local function lane_by(id, at, priority, packed)
    local lane = lanes[id]
    if not lane then
        lane = {id = id, held = ROOT .. 'l:' .. id, out = ROOT .. 'lo:' .. id, gates = packed, task = at.task,
            rank = rank_of(at.queue, priority)}
        lanes[id] = lane
    end
    return lane
end

local function lane_of(head)
    local packed, at = head[GATES] or '', place(head[PLACE])
    local known = at.lanes[packed]
    if not known then
        known = {hash = packed == '' and '' or redis.sha1hex(packed)}
        at.lanes[packed] = known
    end
    local lane = known[head[PRIORITY]]
    if not lane then
        lane = lane_by(head[PRIORITY] .. ':' .. head[PLACE] .. ':' .. known.hash, at, head[PRIORITY], packed)
        known[head[PRIORITY]] = lane
    end
    return lane
end

local function note_lane(lane)
    if not lane.touched then
        lane.touched = true
        touched[#touched + 1] = lane
    end
    return lane
end

local function poke(log)
    pokes[log.name] = log
end

-- Put a pending job into its lane, or take it out again.
local function join(n, head)
    local lane = note_lane(lane_of(head))
    widen(head)
    head[LANE], head[DELIVERED_AT], lane.joined = HELD, false, true
    gather(adds, lane.held, score(head[DUE_AT]), n)
end

local function part(n, head, at)
    local lane = note_lane(lane_of(head))
    if head[LANE] == HELD then
        gather(removals, lane.held, n)
    else
        gather(removals, lane.out, n)
        gather(removals, lane.rank.out, n)
        gather(removals, at.delivered, n)
        for _, gate in ipairs(gates_of(head[GATES])) do
            gather(removals, gate.log.out, n)
            poke(gate.log)
        end
    end
    head[LANE] = false
end

-- Give the slots of a job that ran back.
local function give_back(n, head)
    for _, gate in ipairs(gates_of(head[GATES])) do
        if gate.at_once then
            gather(room.leaves, gate.log.running, n)
            poke(gate.log)
        end
    end
end

-- Where the places are noted that have lanes behind a gate or a pause, and how each is noted.
local PAUSE = 'task '
local function places_behind(text)
    if string.sub(text, 1, #PAUSE) == PAUSE then
        return ROOT .. 'pp:' .. string.sub(text, #PAUSE + 1)
    end
    return text ~= ALL_OUT and log_of(cmsgpack.unpack(text)[1]).places
end

local function send_behind(lane, turn, text, opens)
    local places, rank = places_behind(text), lane.rank
    redis.call('ZREM', rank.ready, lane.id)
    redis.call('ZADD', behind(rank, text), turn, lane.id)
    redis.call('ZADD', rank.closed, score(opens), text)
    redis.call('HSET', LANE_AT, lane.id, text)
    if places then
        redis.call('SADD', places, cmsgpack.pack(rank.queue, rank.priority, text))
    end
end

local function nobody_behind(rank, text)
    local places = places_behind(text)
    redis.call('ZREM', rank.closed, text)
    if places then
        redis.call('SREM', places, cmsgpack.pack(rank.queue, rank.priority, text))
    end
end

-- Let the first lanes behind a gate be looked at again.
local function let_through(rank, text, most)
    local key = behind(rank, text)
    local found = redis.call('ZRANGE', key, 0, most - 1, 'WITHSCORES')
    for position = 1, #found, 2 do
        redis.call('ZREM', key, found[position])
        redis.call('HDEL', LANE_AT, found[position])
        redis.call('ZADD', rank.ready, found[position + 1], found[position])
    end
    if #found == 0 or redis.call('EXISTS', key) == 0 then
        nobody_behind(rank, text)
    end
end

local function forget_lane(lane)
    local text = redis.call('HGET', LANE_AT, lane.id)
    if text then
        local key = behind(lane.rank, text)
        redis.call('ZREM', key, lane.id)
        redis.call('HDEL', LANE_AT, lane.id)
        if redis.call('EXISTS', key) == 0 then
            nobody_behind(lane.rank, text)
        end
    else
        redis.call('ZREM', lane.rank.ready, lane.id)
    end
    redis.call('HDEL', LANES, lane.id)
end

local function begin_lane(lane)
    local turn = redis.call('HINCRBY', META, 'turn', 1)
    redis.call('HSET', LANES, lane.id, lane.gates)
    if is_paused('t', lane.task) then
        send_behind(lane, turn, PAUSE .. lane.task, math.huge)
    else
        redis.call('ZADD', lane.rank.ready, turn, lane.id)
        rings[lane.rank.queue] = true
    end
end

local function go_on(lane)
    local text = redis.call('HGET', LANE_AT, lane.id)
    if text == ALL_OUT then
        local key = behind(lane.rank, text)
        local turn = redis.call('ZSCORE', key, lane.id)
        redis.call('ZREM', key, lane.id)
        redis.call('HDEL', LANE_AT, lane.id)
        redis.call('ZADD', lane.rank.ready, turn, lane.id)
        if redis.call('EXISTS', key) == 0 then
            nobody_behind(lane.rank, text)
        end
    end
    if not text or text == ALL_OUT then
        rings[lane.rank.queue] = true
    end
end

local function all_given_out(lane)
    local turn = redis.call('ZSCORE', lane.rank.ready, lane.id)
    if turn then
        send_behind(lane, turn, ALL_OUT, -math.huge)
    end
end

-- After all jobs are where they belong: begin and end lanes, and make the gates be looked at that may have opened.
local function settle()
    if room.before_settling then  -- what a verb has to write before lanes end
        room.before_settling()
    end
    for key, list in pairs(room.leaves) do
        send('SREM', key, list)
    end
    for key, list in pairs(room.joins) do
        send('SADD', key, list)
    end
    for _, lane in ipairs(touched) do
        local held = redis.call('EXISTS', lane.held) == 1
        local known = redis.call('HEXISTS', LANES, lane.id) == 1
        if held and not known then
            begin_lane(lane)
        elseif held and lane.joined then
            go_on(lane)
        elseif known and not held then
            if redis.call('EXISTS', lane.out) == 1 then
                all_given_out(lane)
            else
                forget_lane(lane)
            end
        end
    end
    for _, log in pairs(pokes) do
        for _, packed in ipairs(redis.call('SMEMBERS', log.places)) do
            local queue, priority, text = cmsgpack.unpack(packed)
            redis.call('ZADD', rank_of(queue, priority).closed, 'XX', 0, text)
            rings[queue] = true
        end
    end
end

room.ALL_OUT = ALL_OUT
room.PAUSE = PAUSE
room.LANES = LANES
room.log_of = log_of
room.gate_of = gate_of
room.gates_of = gates_of
room.rank_of = rank_of
room.behind = behind
room.lane_by = lane_by
room.lane_of = lane_of
room.note_lane = note_lane
room.poke = poke
room.join = join
room.part = part
room.give_back = give_back
room.places_behind = places_behind
room.send_behind = send_behind
room.let_through = let_through
room.settle = settle
return room

end

local function lane_room()
    rooms.lanes = rooms.lanes or open_lanes()
    return rooms.lanes
end

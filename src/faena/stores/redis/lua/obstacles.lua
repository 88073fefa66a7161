-- Say what keeps a waiting job from running. ARGV: id. Answers nothing if it does not wait; else now, the due time of a
-- scheduled job, whether its queue and its task are paused, the closed gate and when it opens ('' : with a running job), ids of
-- those that run behind it, how many go first, and when it was given out.
local FURTHEST, MOST_HOLDERS = 1000, 10
local n = find_ids({ARGV[4]})[1]
local head = n and heads[n]
if not head or (head[STATUS] ~= PENDING and head[STATUS] ~= SCHEDULED_STATUS) then
    return false
end
local at = place(head[PLACE])
local lanes, gates = lane_room(), gate_room()
local gate = gates.closed_gate(lanes.gates_of(head[GATES]))

local function ahead()
    if head[STATUS] == SCHEDULED_STATUS then
        return 0
    elseif not head[LANE] then
        return redis.call('ZRANK', pending_of(at, head[PRIORITY]), n) or 0
    end
    local lane, due = lanes.lane_of(head), score(head[DUE_AT])
    if head[LANE] == HELD then
        return redis.call('ZRANK', lane.held, n) + redis.call('ZCOUNT', lane.out, '-inf', due)
    end
    return redis.call('ZRANK', lane.out, n) + redis.call('ZCOUNT', lane.held, '-inf', '(' .. due)
end

local function running_behind()
    local ids = {}
    if not gate.at_once or gate.at_once > redis.call('SCARD', gate.log.running) then
        return ids
    end
    local found = redis.call('SRANDMEMBER', gate.log.running, MOST_HOLDERS)
    table.sort(found)
    load(found)
    for _, holder in ipairs(found) do
        ids[#ids + 1] = heads[holder] and heads[holder][ID]
    end
    return ids
end

local opens = gate and gates.opens_at(gate, 0)
return {score(now), head[STATUS] == SCHEDULED_STATUS and score(head[DUE_AT]) or '',
    is_paused('q', at.queue) and 1 or 0, is_paused('t', at.task) and 1 or 0, gate and gate.text or '',
    opens and opens < math.huge and score(opens) or '', gate and running_behind() or {},
    math.min(ahead(), FURTHEST), head[STATUS] == PENDING and head[DELIVERED_AT] and score(head[DELIVERED_AT]) or ''}

-- Give out pending jobs that were held back and may go now. ARGV: limit. Answers their deliveries, and the seconds until
-- the next gate with jobs behind it opens ('' if none is known to).
local limit, numbers, queues = tonumber(ARGV[4]), {}, redis.call('SMEMBERS', QUEUES)
local soonest, more = math.huge, false
local lanes, server = lane_room(), serving_room()
table.sort(queues)

local function give_out(n, head, at)
    if head[LANE] then
        local lane = lanes.note_lane(lanes.lane_of(head))
        gather(removals, lane.held, n)
        gather(adds, lane.out, score(head[DUE_AT]), n)
        gather(adds, lane.rank.out, score(head[DUE_AT]), n)
        for _, gate in ipairs(lanes.gates_of(head[GATES])) do
            gather(adds, gate.log.out, score(now), n)
        end
        head[LANE] = GIVEN_OUT
    else
        gather(removals, lanes.rank_of(at.queue, head[PRIORITY]).withheld, n)
    end
    gather(adds, at.delivered, score(now), n)
    head[DELIVERED_AT] = now
    touch(n)
end

-- Return the first jobs of a plain line that were withheld; those of paused tasks leave it.
local function withheld(rank, want)
    local line = {}
    local found = redis.call('ZRANGE', rank.withheld, 0, math.max(want, 200) - 1)
    load(found)
    for _, n in ipairs(found) do
        if is_paused('t', place(heads[n][PLACE]).task) then
            set_aside(n)
        elseif #line < want then
            line[#line + 1] = n
        end
    end
    return line
end

for _, queue in ipairs(queues) do
    if not is_paused('q', queue) then
        for _, priority in ipairs(redis.call('ZRANGE', ROOT .. 'q:' .. queue, 0, -1)) do
            local rank, want = lanes.rank_of(queue, priority), limit - #numbers
            local line, serving = withheld(rank, math.max(want, 1)), server.serve(rank, math.max(want, 1), true)
            if want > 0 then
                server.alternate(rank, line, serving, numbers, limit)
            end
            more = more or (#numbers >= limit and #line > want) or (serving.peeked or server.open_lane(serving)) ~= nil
            local opens = redis.call('ZRANGEBYSCORE', rank.closed, 0, '+inf', 'LIMIT', 0, 1, 'WITHSCORES')[2]
            local gives = redis.call('ZREVRANGEBYSCORE', rank.closed, '(0', '-inf', 'LIMIT', 0, 1, 'WITHSCORES')[2]
            soonest = math.min(soonest, tonumber(opens) or math.huge, -(tonumber(gives) or -math.huge))
        end
    end
end
load(numbers)
for _, n in ipairs(numbers) do
    give_out(n, heads[n], place(heads[n][PLACE]))
end
if #dirty > 0 then
    flush()
end
local wait = ''
if more then
    wait = '0'
elseif soonest < math.huge then
    wait = score(math.max(0, soonest - now))
end
return {deliveries(numbers), wait}

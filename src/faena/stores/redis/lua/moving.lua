-- Jobs move from status to status: where each is entered, and taken out again.

local function enter_pending(n, head, at)
    local key = pending_of(at, head[PRIORITY])
    if head[GATES] or is_paused('t', at.task) then
        lane_room().join(n, head)
        rings[at.queue] = rings[at.queue] or false
    else
        gather(adds, key, score(head[DUE_AT]), n)
        if is_paused('q', at.queue) then
            head[DELIVERED_AT] = false
            gather(adds, lane_room().rank_of(at.queue, head[PRIORITY]).withheld, score(head[DUE_AT]), n)
        else
            head[DELIVERED_AT] = now
            gather(adds, at.delivered, score(now), n)
        end
        rings[at.queue] = true
    end
    if not rung[key] then
        rung[key] = true
        gather(adds, at.turn, -head[PRIORITY], head[PRIORITY])
    end
end

-- Let go of a job's key, if it holds it and does not keep it beyond its end.
local function release_key(n, head, at)
    if head[KEY_UNTIL] and head[KEY_UNTIL] > now then
        return
    end
    local key = cmsgpack.pack(at.task, head[KEY])
    if not head[KEY_BOUND] or redis.call('HGET', HOLDERS, key) == n then
        gather(deletions, HOLDERS, key)
    end
end

local function enter(n, head)
    local status, at = head[STATUS], place(head[PLACE])
    gather(adds, at.indices[status], n, n)
    if status == PENDING then
        enter_pending(n, head, at)
    elseif status == PROCESSING then
        gather(adds, LEASES, score(head[LEASE_UNTIL]), n)
    elseif status == SCHEDULED_STATUS then
        gather(adds, SCHEDULED, score(head[DUE_AT]), n)
    else
        gather(adds, EXPIRING, score(head[EXPIRES_AT]), n)
        if head[KEY] then
            release_key(n, head, at)
        end
    end
end

local function leave_pending(n, head, at)
    local key = pending_of(at, head[PRIORITY])
    left[key] = left[key] or {at.queue, head[PRIORITY]}
    if head[LANE] then
        lane_room().part(n, head, at)
        return
    end
    gather(removals, key, n)
    if head[DELIVERED_AT] then
        gather(removals, at.delivered, n)
    else
        gather(removals, lane_room().rank_of(at.queue, head[PRIORITY]).withheld, n)
    end
end

local function leave(n, head)
    local status, at = head[STATUS], place(head[PLACE])
    gather(removals, at.indices[status], n)
    if status == PENDING then
        leave_pending(n, head, at)
    elseif status == PROCESSING then
        gather(removals, LEASES, n)
        if head[GATES] then
            lane_room().give_back(n, head)
        end
    elseif status == SCHEDULED_STATUS then
        gather(removals, SCHEDULED, n)
    else
        gather(removals, EXPIRING, n)
    end
end

-- Put a pending job where it waits now that it may not go: not given out, and not in the plain line if its task is paused.
local function set_aside(n)
    leave(n, heads[n])
    enter(n, heads[n])
    touch(n)
end

-- Is a pending job kept from delivery until `admit` gives it out?
local function held_back(head)
    local at = place(head[PLACE])
    return head[STATUS] == PENDING and (head[GATES] or head[LANE] or is_paused('q', at.queue)
        or is_paused('t', at.task)) and true or false
end

-- Of these jobs, return those that were given out for delivery by the step that made them pending.
local function delivered(numbers)
    local list = {}
    for _, n in ipairs(numbers) do
        if heads[n][DELIVERED_AT] then
            list[#list + 1] = n
        end
    end
    return list
end

-- Let go of the lease. The token stays: the next claim makes it grow.
local function free(head)
    head[LEASE_UNTIL] = false
    head[WORKER] = false
end

local function finish_now(head, ttl)
    head[FINISHED_AT] = now
    head[EXPIRES_AT] = math.max(now + ttl, head[KEY_UNTIL] or 0, head[KEPT_UNTIL] or 0)
    head[CANCEL_REQUESTED] = 0
    head[LEASE_UNTIL] = false  -- who ran it stays
end

-- Take a step, told with `attempt` if that is given back by the step. The fields that it sets are set before.
local function move(n, step, message, attempt)
    local head = heads[n]
    if not SOURCES[step][head[STATUS]] then
        error('illegal step ' .. step .. ' from status ' .. head[STATUS])
    end
    leave(n, head)
    head[STATUS] = TARGETS[step]
    enter(n, head)
    tell(n, EVENT_STATUS, false, message, false, attempt)
end

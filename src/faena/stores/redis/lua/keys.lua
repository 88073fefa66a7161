-- New jobs that meet others: who holds a key, what becomes of the holder, and which requests were answered before. The
-- room is opened when a job bears a key or a request; `moves` is what inserting.lua lends it.

local CREATED = '1'                -- what `decide_all` says of a job that is new

local function open_keys(moves)

local REQUESTS, REQUESTS_END = ROOT .. 'requests', ROOT .. 'requests_end'
local HELD_KEY, CONFLICT, DEBOUNCED, REPLAYED, REPLAYED_DUPLICATE = '2', '3', '4', '5', '6'
local holders, requests, loaded = {}, {}, {}

local function waits(head)
    return head[STATUS] == PENDING or head[STATUS] == SCHEDULED_STATUS
end

-- Does a job hold the key that it got once?
local function holds(head)
    if head[KEY_UNTIL] and now < head[KEY_UNTIL] then
        return true
    end
    local lives = waits(head) or head[STATUS] == PROCESSING
    return lives and (not head[KEY_BOUND] or now < head[KEY_BOUND])
end

local function read_holders(packed)
    for position, n in ipairs(ask(HOLDERS, packed)) do
        holders[packed[position]] = n or nil
        loaded[#loaded + 1] = n or nil
    end
    load(loaded)
end

local function holder_of(packed)
    local n = packed and holders[packed]
    return n and heads[n] and holds(heads[n]) and n
end

local function hold(n, packed)
    gather(sets, HOLDERS, packed, n)
    holders[packed] = n
end

-- Return the job that answered a request before, and what is said of it now.
local function recall(request)
    local key = request[1]
    local packed = requests[key] or redis.call('HGET', REQUESTS, key)
    if not packed then
        return nil
    end
    local digest, n, until_then, duplicate = cmsgpack.unpack(packed)
    load({n})
    if until_then <= now or not heads[n] then
        return nil
    end
    if digest ~= request[2] then
        return n, CONFLICT
    end
    return n, duplicate and REPLAYED_DUPLICATE or REPLAYED
end

-- Remember who answered a request; that job is kept as long.
local function remember(n, request, duplicate)
    local key, until_then, head = request[1], now + request[3], heads[n]
    requests[key] = cmsgpack.pack(request[2], n, until_then, duplicate)
    gather(sets, REQUESTS, key, requests[key])
    gather(adds, REQUESTS_END, score(until_then), key)
    widen(head)
    head[KEPT_UNTIL] = math.max(head[KEPT_UNTIL] or 0, until_then)
    if head[FINISHED_AT] and head[EXPIRES_AT] < until_then then
        head[EXPIRES_AT] = until_then
        gather(adds, EXPIRING, score(until_then), n)
    end
    touch(n)
end

-- A body is an array of the timeout and the arguments; cmsgpack does not read the latter's type. Return what is before
-- the arguments, and those with their size before them.
local TIMEOUT_SIZES = {[192] = 1, [202] = 5, [203] = 9, [204] = 2, [205] = 3, [206] = 5, [207] = 9}
local function split(body)
    local size = TIMEOUT_SIZES[string.byte(body, 2)] or 1
    return string.sub(body, 1, 1 + size), string.sub(body, 2 + size)
end

-- Are the arguments of two bodies the same? They are written in one way, so their bytes tell.
local function same_arguments(one, other)
    local _, first = split(one)
    local _, second = split(other)
    return first == second
end

local function replace(n, id, result_ttl)
    local head = heads[n]
    moves.take_out(n)
    widen(head)
    head[KEY_UNTIL] = false  -- its key goes to the new one
    finish_now(head, result_ttl)
    head[STATUS] = TARGETS.cancel
    tell(n, EVENT_STATUS, false, 'replaced by ' .. id)
end

local function debounce(n, job, extra, body)
    local head, due = heads[n], moves.due_of(job)
    moves.take_out(n)  -- from behind its old gates: the new arguments have others
    if head[GATES] or extra[1] then
        widen(head)
        head[GATES] = extra[1]
    end
    head[PRIORITY], head[DUE_AT] = job[4], due
    head[STATUS] = TARGETS[due > now and 'postpone' or 'promote']
    local before = split(moves.body_of(n))
    local _, args = split(body)
    moves.keep_body(n, before .. args)
    tell(n, EVENT_STATUS, false, 'debounced')
end

-- Decide about a job whose key another one holds.
local function meet(n, job, extra, key, body, result_ttl)
    local rule, waiting = extra[4], waits(heads[n])
    if rule == 'replace' and waiting then
        replace(n, job[1], result_ttl)
        return CREATED, moves.create(job, extra, body)
    elseif rule == 'debounce' and waiting then
        debounce(n, job, extra, body)
        return DEBOUNCED, n
    elseif rule == 'refuse' then
        return CONFLICT, n
    end
    return HELD_KEY, n
end

-- Decide about a new job with a key or a request (or both).
local function decide(job, extra, key, body, result_ttl)
    local request = extra[5]
    if request then
        local n, said = recall(request)
        if n then
            return said, n
        end
    end
    local kind, n = CREATED, holder_of(key)
    if n then
        kind, n = meet(n, job, extra, key, body, result_ttl)
    else
        n = moves.create(job, extra, body)
    end
    if kind == CREATED and key then
        hold(n, key)
    end
    if request and kind ~= CONFLICT and (kind ~= HELD_KEY or same_arguments(moves.body_of(n), body)) then
        remember(n, request, kind ~= CREATED)
    end
    return kind, n
end

return {read_holders = read_holders, decide = decide}

end

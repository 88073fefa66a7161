-- Who holds a key, and which requests were answered before.

local waits, read_holders, holder_of, hold_now, recall, remember, body_of, keep_body, split_body, same_arguments
do

local REQUESTS, REQUESTS_END = ROOT .. 'requests', ROOT .. 'requests_end'
local bodies_now, holders, requests = {}, {}, {}

function waits(head)
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

function read_holders(packed)
    local found = {}
    for position, n in ipairs(ask(HOLDERS, packed)) do
        holders[packed[position]] = n or nil
        found[#found + 1] = n or nil
    end
    load(found)
end

function holder_of(packed)
    local n = packed and holders[packed]
    return n and heads[n] and holds(heads[n]) and n
end

-- Return the job that answered a request before, and whether the request was another one.
function recall(idempotency)
    local key = idempotency[1]
    local packed = requests[key] or redis.call('HGET', REQUESTS, key)
    if not packed then
        return nil
    end
    local digest, n, until_then = cmsgpack.unpack(packed)
    load({n})
    if until_then <= now or not heads[n] then
        return nil
    end
    return n, digest ~= idempotency[2]
end

-- Remember who answered a request; that job is kept as long.
function remember(n, idempotency)
    local key, until_then, head = idempotency[1], now + idempotency[3], heads[n]
    requests[key] = cmsgpack.pack(idempotency[2], n, until_then)
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

function hold_now(n, key)
    gather(sets, HOLDERS, key, n)
    holders[key] = n
end

function keep_body(n, body)
    gather(sets, BODIES, n, body)
    bodies_now[n] = body
end

function body_of(n)
    return bodies_now[n] or redis.call('HGET', BODIES, n)
end

local function alike(one, other)
    if type(one) ~= 'table' or type(other) ~= 'table' then
        return one == other
    end
    for name, value in pairs(one) do
        if not alike(value, other[name]) then
            return false
        end
    end
    for name in pairs(other) do
        if one[name] == nil then
            return false
        end
    end
    return true
end

-- A body is an array of the timeout and the arguments; cmsgpack does not read the latter's type. Return all before the
-- arguments, and those with their size before them.
local TIMEOUT_SIZES = {[192] = 1, [202] = 5, [203] = 9, [204] = 2, [205] = 3, [206] = 5, [207] = 9}
local SIZE_SIZES = {[196] = 2, [197] = 3, [198] = 5}
function split_body(body)
    local size = TIMEOUT_SIZES[string.byte(body, 2)] or 1
    return string.sub(body, 1, 1 + size), string.sub(body, 2 + size)
end

-- Are the arguments of two bodies the same, whatever the order of their names?
function same_arguments(one, other)
    local _, first = split_body(one)
    local _, second = split_body(other)
    if first == second then
        return true
    end
    local read, left_args, right_args = pcall(function()
        return cjson.decode(string.sub(first, SIZE_SIZES[string.byte(first)] + 1)),
            cjson.decode(string.sub(second, SIZE_SIZES[string.byte(second)] + 1))
    end)
    return read and alike(left_args, right_args)
end

end

-- Storing new jobs, for insert and tick. A job is (id, task, queue, priority, delay, due, max_attempts, key, user, topic,
-- origin, extra), and extra (where there is any) is (gates, key_kept, key_bound, on_conflict, idempotency). Jobs of one call may
-- meet each other, so each is entered where it belongs only when all are decided.

local CREATED = '1'                -- what `decide_all` says of a job that is new
local decide_all, write_all, answer_all
do

local KNOWN, HELD_KEY, CONFLICT, DEBOUNCED, REPLAYED = '0', '2', '3', '4', '5'
local NOTHING_EXTRA = {}
local created, created_order, entering, out, altered, by_packed = {}, {}, {}, {}, {}, {}
local last_number

local function place_of(queue, task)
    local packed = cmsgpack.pack(queue, task)
    local number = by_packed[packed] or tonumber(redis.call('HGET', PLACE_OF, packed) or nil)
    if not number then
        number = redis.call('HINCRBY', META, 'places', 1)
        redis.call('HSET', PLACE_OF, packed, number)
        redis.call('HSET', PLACES, number, packed)
    end
    if not by_packed[packed] then
        by_packed[packed] = number
        know(number, queue, task, packed)
    end
    return number
end

local function due_of(job)
    return job[6] or now + job[5]
end

local function create(job, extra, key, body)
    last_number = last_number + 1
    local n, due = string.format('%012.0f', last_number), due_of(job)
    local head = {job[1], PENDING, 0, job[7], 0, 0, 0, 0, 0, 0, false, 1, job[4], now, due, false, false, false, false,
        false, false, false, false, place_of(job[3], job[2]), job[8] or false, job[9] or false, job[10] or false,
        job[11] or false, false, false}
    if extra ~= NOTHING_EXTRA then
        widen(head)
        head[GATES] = extra[1]
        head[KEY_UNTIL] = extra[2] and now + extra[2]
        head[KEY_BOUND] = extra[3] and now + extra[3]
    end
    head[STATUS] = TARGETS[due > now and 'schedule' or 'enqueue']
    heads[n], created[n] = head, true
    created_order[#created_order + 1] = n
    entering[#entering + 1] = n
    tell(n, EVENT_STATUS)
    gather(sets, IDS, job[1], n)
    keep_body(n, body)
    if key then
        hold_now(n, key)
    end
    if job[9] then
        gather(adds, ROOT .. 'u:' .. job[9], n, n)
    end
    if job[11] then
        gather(adds, ROOT .. 'o:' .. job[11], n, n)
    end
    return n
end

-- Take a waiting job from where it is; it is entered again with the others.
local function take_out(n)
    altered[n] = true
    if not created[n] and not out[n] then
        out[n] = true
        leave(n, heads[n])
        entering[#entering + 1] = n
    end
end

local function replace(n, id, result_ttl)
    local head = heads[n]
    take_out(n)
    widen(head)
    head[KEY_UNTIL] = false  -- its key goes to the new one
    finish_now(head, result_ttl)
    head[STATUS] = TARGETS.cancel
    tell(n, EVENT_STATUS, false, 'replaced by ' .. id)
end

local function debounce(n, job, body)
    local head, due = heads[n], due_of(job)
    take_out(n)
    head[PRIORITY], head[DUE_AT] = job[4], due
    head[STATUS] = TARGETS[due > now and 'postpone' or 'promote']
    local before = split_body(body_of(n))
    local _, args = split_body(body)
    keep_body(n, before .. args)
    tell(n, EVENT_STATUS, false, 'debounced')
end

-- Decide about a job whose key another one holds.
local function meet(n, job, extra, key, body, result_ttl)
    local rule, waiting = extra[4], waits(heads[n])
    if rule == 'replace' and waiting then
        replace(n, job[1], result_ttl)
        return CREATED, create(job, extra, key, body)
    elseif rule == 'debounce' and waiting then
        debounce(n, job, body)
        return DEBOUNCED, n
    elseif rule == 'refuse' then
        return CONFLICT, n
    end
    return HELD_KEY, n
end

local function decide_one(job, key, body, result_ttl)
    local extra = job[12] or NOTHING_EXTRA
    local request = extra[5]
    if request then
        local n, other = recall(request)
        if n then
            return other and CONFLICT or REPLAYED, n
        end
    end
    local kind, n = CREATED, holder_of(key)
    if n then
        kind, n = meet(n, job, extra, key, body, result_ttl)
    else
        n = create(job, extra, key, body)
    end
    if request and kind ~= CONFLICT and (kind ~= HELD_KEY or same_arguments(body_of(n), body)) then
        remember(n, request)
    end
    return kind, n
end

-- Decide about new jobs; `bodies_from` is where their bodies begin in ARGV. Returns what became of each, and its number.
function decide_all(jobs, bodies_from, result_ttl)
    local ids, keys, keyed, known, kinds, numbers = {}, {}, {}, {}, {}, {}
    for number, job in ipairs(jobs) do
        ids[number] = job[1]
        if job[8] then
            keys[#keys + 1] = cmsgpack.pack(job[2], job[8])
            keyed[number] = keys[#keys]
        end
    end
    for number, n in ipairs(find_ids(ids)) do
        known[ids[number]] = n or nil
    end
    read_holders(keys)
    last_number = tonumber(redis.call('HGET', META, 'number') or 0)
    for number, job in ipairs(jobs) do
        if known[job[1]] then
            kinds[number], numbers[number] = KNOWN, known[job[1]]
        else
            kinds[number], numbers[number] = decide_one(job, keyed[number], ARGV[bodies_from + number - 1], result_ttl)
            if kinds[number] == CREATED then
                known[job[1]] = numbers[number]
            end
        end
    end
    return kinds, numbers
end

function write_all()
    for _, n in ipairs(entering) do
        enter(n, heads[n])
    end
    if #created_order > 0 then
        redis.call('HINCRBY', META, 'number', #created_order)
    end
    flush(created)
end

-- Answer now, what became of each job, whether each is held back, and those that the caller does not know by heart.
function answer_all(kinds, numbers)
    local asked, told_back = {}, {}
    for number, n in ipairs(numbers) do
        if kinds[number] == CREATED and altered[n] then
            kinds[number] = KNOWN
        end
        if kinds[number] ~= CREATED then
            asked[#asked + 1] = n
        end
        told_back[number] = held_back(heads[n]) and '1' or '0'
    end
    return {score(now), table.concat(kinds), table.concat(told_back), answer(asked)}
end

end

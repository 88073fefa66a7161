-- Storing new jobs, for insert and tick. A job is (id, task, queue, priority, delay, due, max_attempts, key, user, topic,
-- origin, extra), and extra (where there is any) is (gates, key_kept, key_bound, on_conflict, idempotency). Jobs of one
-- call may meet each other, so each is entered where it belongs only when all are decided.

local KNOWN, NOTHING_EXTRA = '0', {}
local created, entering, out, altered, by_packed, bodies_now = {}, {}, {}, {}, {}, {}
local last_number, first_number

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

local function create(job, extra, body)
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
    heads[n], created[n], bodies_now[n] = head, true, body
    entering[#entering + 1] = n
    tell(n, EVENT_STATUS)
    gather(sets, IDS, job[1], n)
    gather(sets, BODIES, n, body)
    if job[9] then
        gather(adds, ROOT .. 'u:' .. job[9], n, n)
    end
    if job[11] then
        gather(adds, ROOT .. 'o:' .. job[11], n, n)
    end
    return n
end

-- Open the room for keys, which may take a waiting job from where it is: it is entered again with the others.
local function keys_room(packed)
    local moves = {create = create, due_of = due_of}
    function moves.take_out(n)
        altered[n] = true
        if not created[n] and not out[n] then
            out[n] = true
            leave(n, heads[n])
            entering[#entering + 1] = n
        end
    end
    function moves.body_of(n)
        return bodies_now[n] or redis.call('HGET', BODIES, n)
    end
    function moves.keep_body(n, body)
        bodies_now[n] = body
        gather(sets, BODIES, n, body)
    end
    local keys = open_keys(moves)
    keys.read_holders(packed)
    return keys
end

-- Decide about new jobs; `bodies_from` is where their bodies begin in ARGV. Returns what became of each, and its number.
local function decide_all(jobs, bodies_from, result_ttl)
    local ids, packed, keyed, known, kinds, numbers = {}, {}, {}, {}, {}, {}
    for number, job in ipairs(jobs) do
        ids[number] = job[1]
        if job[8] then
            packed[#packed + 1] = cmsgpack.pack(job[2], job[8])
            keyed[number] = packed[#packed]
        end
    end
    for number, n in ipairs(find_ids(ids)) do
        known[ids[number]] = n or nil
    end
    first_number = tonumber(redis.call('HGET', META, 'number') or 0)
    last_number = first_number
    local keys
    for number, job in ipairs(jobs) do
        local extra, body = job[12] or NOTHING_EXTRA, ARGV[bodies_from + number - 1]
        if known[job[1]] then
            kinds[number], numbers[number] = KNOWN, known[job[1]]
        elseif keyed[number] or extra[5] then
            keys = keys or keys_room(packed)
            kinds[number], numbers[number] = keys.decide(job, extra, keyed[number], body, result_ttl)
        else
            kinds[number], numbers[number] = CREATED, create(job, extra, body)
        end
        if kinds[number] == CREATED then
            known[job[1]] = numbers[number]
        end
    end
    return kinds, numbers
end

local function write_all()
    for _, n in ipairs(entering) do
        enter(n, heads[n])
    end
    if last_number > first_number then
        redis.call('HINCRBY', META, 'number', last_number - first_number)
    end
    flush(created)
end

-- Answer now, what became of each job, whether each is held back, and those that the caller does not know by heart.
local function answer_all(kinds, numbers)
    local asked, told_back = {}, {}
    for number, n in ipairs(numbers) do
        if altered[n] and kinds[number] == CREATED then
            kinds[number] = KNOWN
        end
        if kinds[number] ~= CREATED then
            asked[#asked + 1] = n
        end
        told_back[number] = held_back(heads[n]) and '1' or '0'
    end
    return {score(now), table.concat(kinds), table.concat(told_back), answer(asked)}
end

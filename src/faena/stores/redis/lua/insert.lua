-- Store new jobs, all or none. ARGV: jobs (id, task, queue, priority, delay, due, max_attempts, key, user, topic,
-- origin), then their bodies. Answers now and, for each, whether it was created (1), known (0) or refused (2).
local jobs = cmsgpack.unpack(ARGV[4])
local count = #ARGV - 4
local ids, keys, keyed = {}, {}, {}
for number = 1, count do
    local job = jobs[number]
    ids[number] = job[1]
    if job[8] then
        keys[#keys + 1] = cmsgpack.pack(job[2], job[8])
        keyed[number] = keys[#keys]
    end
end
local known, holders, numbers, kinds, created = {}, {}, {}, {}, {}
for number, n in ipairs(find_ids(ids)) do
    known[ids[number]] = n or nil
end
for position, n in ipairs(ask(HOLDERS, keys)) do
    holders[keys[position]] = n or nil
end
local last, asked = 0, {}
for number = 1, count do
    local id, key = ids[number], keyed[number]
    if known[id] then
        kinds[number], numbers[number] = '\0', known[id]
    elseif key and holders[key] then
        kinds[number], numbers[number] = '\2', holders[key]
    else
        last = last + 1
        kinds[number], numbers[number] = '\1', last
        known[id] = last
        if key then
            holders[key] = last
        end
    end
end
local base = last > 0 and redis.call('HINCRBY', META, 'number', last) - last or 0
local by_packed = {}
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
for number = 1, count do
    if type(numbers[number]) == 'number' then
        numbers[number] = string.format('%012.0f', base + numbers[number])
    end
    local n, job = numbers[number], jobs[number]
    if kinds[number] == '\1' then
        local due = job[6] or now + job[5]
        local at = place_of(job[3], job[2])
        local head = {job[1], PENDING, 0, job[7], 0, 0, 0, 0, 0, 0, false, 1, job[4], now, due, false, false, false,
            false, false, false, false, false, at, job[8] or false, job[9] or false, job[10] or false,
            job[11] or false, false, false}
        head[STATUS] = TARGETS[due > now and 'schedule' or 'enqueue']
        heads[n] = head
        created[n] = true
        enter(n, head)
        tell(n, EVENT_STATUS)
        gather(sets, IDS, job[1], n)
        gather(sets, BODIES, n, ARGV[4 + number])
        if keyed[number] then
            gather(sets, HOLDERS, keyed[number], n)
        end
        if job[9] then
            gather(adds, ROOT .. 'u:' .. job[9], n, n)
        end
        if job[11] then
            gather(adds, ROOT .. 'o:' .. job[11], n, n)
        end
    else
        asked[#asked + 1] = n
    end
end
flush(created)
load(asked)
return {string.format('%.17g', now), table.concat(kinds), answer(asked)}

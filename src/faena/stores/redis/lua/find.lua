-- List jobs, newest first. ARGV: the query (statuses, tasks, queues, user, search in lower case, origin, limit, the
-- number to start below, how many to look at). Answers the jobs' numbers, the jobs, and where to go on ('' : that
-- was all).
local query = cmsgpack.unpack(ARGV[4])
local function set_of(list)
    local set
    for _, one in ipairs(list) do
        set = set or {}
        set[one] = true
    end
    return set
end
local statuses, tasks, queues = set_of(query[1]), set_of(query[2]), set_of(query[3])
local user, search, origin, limit, below, budget = query[4], query[5], query[6], query[7], query[8], query[9]
local sources = {}
if origin then
    sources[1] = ROOT .. 'o:' .. origin
elseif user then
    sources[1] = ROOT .. 'u:' .. user
else
    local all = redis.call('HGETALL', PLACES)
    for position = 1, #all, 2 do
        local queue, task = cmsgpack.unpack(all[position + 1])
        if (not tasks or tasks[task]) and (not queues or queues[queue]) then
            for status = 0, 5 do
                if not statuses or statuses[status] then
                    sources[#sources + 1] = index(all[position], status)
                end
            end
        end
    end
end
local function fits(head)
    local at = place(head[PLACE])
    if (statuses and not statuses[head[STATUS]]) or (tasks and not tasks[at.task])
        or (queues and not queues[at.queue]) or (user and head[USER] ~= user)
        or (origin and head[ORIGIN] ~= origin) then
        return false
    end
    if not search then
        return true
    end
    for _, text in ipairs({head[ID], at.task, head[KEY] or '', head[MESSAGE] or ''}) do
        if string.find(string.lower(text), search, 1, true) then
            return true
        end
    end
    return false
end
local plain = not (origin or user or search)
local chunk = plain and limit or math.max(limit, 200)
-- Candidates come newest first from a heap of the sources, each of which is read a little ahead: numbers of fixed width
-- sort as text.
local heap, waiting = {}, 0
local function read_on(source)
    local found = redis.call('ZREVRANGEBYSCORE', source.key, '(' .. source.below, '-inf', 'LIMIT', 0, source.ahead)
    source.found, source.position, source.newest = found, 1, found[1]
    source.below, source.ahead = found[#found], math.min(2 * source.ahead, chunk)
end
local function sink(position)
    local source = heap[position]
    while 2 * position <= waiting do
        local child = 2 * position
        if child < waiting and heap[child + 1].newest > heap[child].newest then
            child = child + 1
        end
        if heap[child].newest <= source.newest then
            break
        end
        heap[position] = heap[child]
        position = child
    end
    heap[position] = source
end
for _, key in ipairs(sources) do
    local source = {key = key, below = below, ahead = math.ceil(chunk / #sources)}
    read_on(source)
    if source.newest then
        waiting = waiting + 1
        heap[waiting] = source
    end
end
for position = math.floor(waiting / 2), 1, -1 do
    sink(position)
end
local function next_one()
    local source = heap[1]
    local n = source.newest
    source.position = source.position + 1
    source.newest = source.found[source.position]
    if not source.newest then
        read_on(source)
    end
    if not source.newest then
        heap[1] = heap[waiting]
        waiting = waiting - 1
    end
    if waiting > 0 then
        sink(1)
    end
    return n
end
local numbers, looked, rest = {}, 0, false
while #numbers < limit do
    local part, size = {}, 0
    while waiting > 0 and size < chunk do
        size = size + 1
        part[size] = next_one()
    end
    load(part)
    for _, n in ipairs(part) do
        if #numbers < limit and heads[n] and (plain or fits(heads[n])) then
            numbers[#numbers + 1] = n
        end
    end
    if size < chunk then
        break
    end
    below = part[size]
    looked = looked + size
    if looked >= budget then
        rest = #numbers < limit
        break
    end
end
return {table.concat(numbers, ' '), answer(numbers), rest and below or ''}

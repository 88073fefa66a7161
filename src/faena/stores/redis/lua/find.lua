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
-- Return the next chunk of candidates, newest first: numbers of fixed width sort as text.
local function some()
    local found = {}
    for _, key in ipairs(sources) do
        for _, n in ipairs(redis.call('ZREVRANGEBYSCORE', key, '(' .. below, '-inf', 'LIMIT', 0, chunk)) do
            found[#found + 1] = n
        end
    end
    table.sort(found, function(one, other) return one > other end)
    return found
end
local numbers, looked, rest = {}, 0, false
while #numbers < limit do
    local found = some()
    local size = math.min(#found, chunk)
    if size == 0 then
        break
    end
    local part = {}
    for position = 1, size do
        part[position] = found[position]
    end
    load(part)
    for _, n in ipairs(part) do
        if #numbers < limit and heads[n] and (plain or fits(heads[n])) then
            numbers[#numbers + 1] = n
        end
    end
    below = part[size]
    looked = looked + size
    if #found < chunk then
        break
    end
    if looked >= budget then
        rest = #numbers < limit
        break
    end
end
return {table.concat(numbers, ' '), answer(numbers), rest and below or ''}

-- Writing what was gathered: the part of the prelude that only verbs that change something need, and do last.

-- Move the events kept with a job to its list, and drop what is older than what must be kept.
local function shelve(n, head, old, count)
    local last, list = head[SEQ] - count, ROOT .. 'h:' .. n
    redis.call('RPUSH', list, cmsgpack.pack({last, last - head[KEPT_FROM] + 1, old}))
    while true do
        local oldest = redis.call('LINDEX', list, 0)
        if not oldest or cmsgpack.unpack(oldest)[1] > head[SEQ] - MAX_EVENTS then
            break
        end
        redis.call('LPOP', list)
    end
    head[KEPT_FROM] = last + 1
end

local function feed_trim(position)
    local oldest = redis.call('XRANGE', FEED, '-', '+', 'COUNT', 1)[1]
    if not oldest then
        return
    end
    local first, last = tonumber(string.match(oldest[1], '^%d+')), position
    local total = tonumber(redis.call('HGET', META, 'feed_bytes'))
    local function old(number)
        local entry = redis.call('XRANGE', FEED, string.format('%.0f', number), '+', 'COUNT', 1)[1]
        return entry and (tonumber(entry[2][2]) < now - FEED_KEPT or tonumber(entry[2][4]) < total - FEED_BYTES)
    end
    if not old(first) then
        return
    end
    while first < last do  -- `first` is old; find the last one that is
        local middle = math.ceil((first + last) / 2)
        if old(middle) then
            first = middle
        else
            last = middle - 1
        end
    end
    redis.call('XTRIM', FEED, 'MINID', string.format('%.0f', first + 1))
end

-- Positions go on from the time of the first write, so that those of a Redis that was emptied are all new.
local function begin()
    if redis.call('HEXISTS', META, 'position') == 0 then
        local base = string.format('%.0f', math.floor(now * 1000000))
        redis.call('HSET', META, 'position', base, 'epoch', base, 'schema', 1)
    end
end

local function publish()
    local blob = array(told_count) .. table.concat(told)
    begin()
    local position = redis.call('HINCRBY', META, 'position', 1)
    local total = redis.call('HINCRBY', META, 'feed_bytes', #blob)
    redis.call('XADD', FEED, string.format('%.0f-0', position), 't', string.format('%.17g', now), 'b', total, 'd', blob)
    if position % 256 == 0 then
        feed_trim(position)
    end
    redis.call('PUBLISH', ROOT .. 'feed', '')
end

-- Take queues and priorities off the lists of those with pending jobs, if there are none left.
local function tidy()
    for key, of in pairs(left) do
        local rank = of[2] .. ':' .. of[1]
        if redis.call('EXISTS', key, ROOT .. 'lr:' .. rank, ROOT .. 'lc:' .. rank) == 0 then
            local turn = ROOT .. 'q:' .. of[1]
            redis.call('ZREM', turn, of[2])
            redis.call('HDEL', ROOT .. 'turns', rank)
            if redis.call('EXISTS', turn) == 0 then
                redis.call('SREM', QUEUES, of[1])
            end
        end
    end
end

local function told_of(head, events)
    local at = place(head[PLACE])
    told_count = told_count + 1
    told[told_count] = '\150' .. cmsgpack.pack(head[ID], head[TOPIC], head[USER]) .. at.packed .. array(#events)
        .. table.concat(events)
end

local function write_heads(created)
    local values, stories, fields = {}, {}, {}
    local asked, before = {}, {}
    for _, n in ipairs(dirty) do
        if fresh[n] and not (created and created[n]) then
            asked[#asked + 1] = n
        end
    end
    for position, story in ipairs(ask(EVENTS, asked)) do
        before[asked[position]] = story
    end
    for key, list in pairs(removals) do
        send('ZREM', key, list)
    end
    for _, n in ipairs(dirty) do
        local head, events = heads[n], fresh[n]
        if events then
            local old = before[n] or ''
            if head[SEQ] - head[KEPT_FROM] >= RUN and old ~= '' then
                shelve(n, head, old, #events)
                old = ''
            end
            stories[#stories + 1] = n
            stories[#stories + 1] = old .. table.concat(events)
            told_of(head, events)
        end
        raw[n] = cmsgpack.pack(head)
        values[#values + 1] = n
        values[#values + 1] = raw[n]
    end
    send('HSET', HEADS, values)
    send('HSET', EVENTS, stories)
end

-- Let what a script writes from here on be written even if Redis is full: it refuses scripts only as long as they have
-- written nothing, and what frees memory it never refuses.
local function even_if_full()
    redis.call('HDEL', META, '')
end

-- Write everything that was gathered. `created` holds the numbers of new jobs.
local function flush(created)
    write_heads(created)
    for key, list in pairs(adds) do
        send('ZADD', key, list)
    end
    for key, list in pairs(deletions) do  -- first: a key may pass from one job to another
        send('HDEL', key, list)
    end
    for key, list in pairs(sets) do
        send('HSET', key, list)
    end
    if rooms.lanes then
        rooms.lanes.settle()
    end
    for queue, loud in pairs(rings) do
        redis.call('SADD', QUEUES, queue)
        if loud then
            redis.call('PUBLISH', ROOT .. 'work', queue)
        end
    end
    tidy()
    if told_count > 0 then
        publish()
    end
    if refused > 0 then
        even_if_full()  -- who lost its lease must hear that, not that Redis is full
        redis.call('HINCRBY', META, 'refused', refused)
    end
end

-- What every script begins with. A script reads and decides first, gathers what changes, and writes it last, in
-- `flush` (writing.lua): what it refuses or stumbles over has changed nothing. The fixed keys are declared in KEYS; those of one
-- queue, place, user or request are derived from ROOT, under the same hash tag.

local META, IDS, HEADS, BODIES, EVENTS, RESULTS, CHECKPOINTS, SCHEDULED, LEASES, EXPIRING, PLACES, PLACE_OF,
    HOLDERS, QUEUES, WORKERS, FEED = unpack(KEYS)
local ROOT = ARGV[1]
local MAX_EVENTS = tonumber(ARGV[3])

-- Store time: the server's (or a test's), corrected where it was set to another hour while jobs ran. A caller whose own
-- clock says something else is told so, and nothing happens; clock.py says what it does then.
local raw_now, expected_now = string.match(ARGV[2], '^(.-)|(.*)$')
local now = tonumber(raw_now)
if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
now = now + tonumber(redis.call('HGET', META, 'correction') or 0)
if expected_now ~= '' and math.abs(now - tonumber(expected_now)) > 1 then
    return redis.error_reply('CLOCKMOVED the store and its caller differ about the time')
end

-- Where a job's head keeps what; `Head` in rows.py names the same.
local ID, STATUS, ATTEMPT, MAX_ATTEMPTS, CRASHES, TOKEN, SEQ, PROGRESS, CANCEL_REQUESTED, REPORTED, LAST_STEP,
    KEPT_FROM, PRIORITY, CREATED_AT, DUE_AT, LEASE_UNTIL, STARTED_AT, FINISHED_AT, EXPIRES_AT, DELIVERED_AT, WORKER,
    MESSAGE, ERROR, PLACE, KEY, USER, TOPIC, ORIGIN, HAS_RESULT, HAS_CHECKPOINT, GATES, LANE,
    KEY_UNTIL, KEY_BOUND, KEPT_UNTIL = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35
local SHORT, LONG = 30, 35         -- a plain job's head ends where the fields of limits and kept keys would begin

local EVENT_STATUS, EVENT_PROGRESS = 0, 1
local RUN = 64                     -- events that are kept with the job; when there are more they move to a list
local CHUNK = 2000                 -- arguments of one command
local FEED_KEPT = 120              -- seconds that the event log goes back,
local FEED_BYTES = 64 * 1048576    -- unless it grows beyond this
local REQUEST_KEPT = 60            -- seconds within which a repeated claim is recognised
local TURNS_KEPT = 600             -- seconds that overtaking is looked back on

local heads, raw, dirty, dirty_seen, fresh = {}, {}, {}, {}, {}
local places, adds, removals, sets, deletions = {}, {}, {}, {}, {}
local left, rung, rings = {}, {}, {}
local refused, feed_wanted = 0, false
local told_count, told = 0, {}

-- Sending long lists in pieces

local function send(command, key, list)
    for first = 1, #list, CHUNK do
        redis.call(command, key, unpack(list, first, math.min(first + CHUNK - 1, #list)))
    end
end

local function ask(key, fields)
    if #fields <= CHUNK then
        return #fields > 0 and redis.call('HMGET', key, unpack(fields)) or {}
    end
    local answers = {}
    for first = 1, #fields, CHUNK do
        local part = redis.call('HMGET', key, unpack(fields, first, math.min(first + CHUNK - 1, #fields)))
        for _, one in ipairs(part) do
            answers[#answers + 1] = one
        end
    end
    return answers
end

local function gather(into, key, one, two)
    local list = into[key]
    if not list then
        list = {}
        into[key] = list
    end
    list[#list + 1] = one
    if two ~= nil then
        list[#list + 1] = two
    end
end

-- A number as the text that Redis would make of it: jobs of one call share most of their times, and making the text
-- takes half the time of a ZADD.
local texts = {}
local function score(number)
    local text = texts[number]
    if not text then
        text = string.format('%.17g', number)
        texts[number] = text
    end
    return text
end

-- MessagePack by hand: what cmsgpack can't make

local function array(size)
    if size < 16 then
        return string.char(144 + size)
    end
    return '\221' .. struct.pack('>I4', size)
end

local function bytes(value)
    return value and '\198' .. struct.pack('>I4', #value) .. value or '\192'
end

-- Places: a queue and a task under a number, so that no job repeats their names

local function index(number, status)
    return ROOT .. 'i:' .. number .. ':' .. status
end

local function pending(queue, priority)
    return ROOT .. 'p:' .. priority .. ':' .. queue
end

-- Note a place, with the names of its keys: putting them together for each job takes longer than the job's writes.
local function know(number, queue, task, packed)
    local known = {queue = queue, task = task, packed = packed, indices = {}, pending = {},
        delivered = ROOT .. 'd:' .. queue, turn = ROOT .. 'q:' .. queue, lanes = {}}
    for status = 0, 5 do
        known.indices[status] = index(number, status)
    end
    places[number] = known
    return known
end

local function place(number)
    local known = places[number]
    if not known then
        local packed = redis.call('HGET', PLACES, number)
        local queue, task = cmsgpack.unpack(packed)
        known = know(number, queue, task, packed)
    end
    return known
end

local function pending_of(at, priority)
    local key = at.pending[priority]
    if not key then
        key = pending(at.queue, priority)
        at.pending[priority] = key
    end
    return key
end

-- Jobs

local function load(numbers)
    for position, packed in ipairs(ask(HEADS, numbers)) do
        local n = numbers[position]
        if packed and not heads[n] then
            heads[n] = cmsgpack.unpack(packed)
            raw[n] = packed
        end
    end
end

-- Return the numbers of jobs by their ids (false: unknown) and load their heads.
local function find_ids(ids)
    local numbers, known = ask(IDS, ids), {}
    for _, n in ipairs(numbers) do
        if n then
            known[#known + 1] = n
        end
    end
    load(known)
    return numbers
end

-- Give a head the fields that plain ones do without.
local function widen(head)
    for field = SHORT + 1, LONG do
        head[field] = head[field] or false
    end
end

local function touch(n)
    if not dirty_seen[n] then
        dirty_seen[n] = true
        dirty[#dirty + 1] = n
    end
end

-- Number and tell the next event of a job.
local function tell(n, kind, name, message, data, attempt)
    local head = heads[n]
    head[SEQ] = head[SEQ] + 1
    local event = cmsgpack.pack({head[SEQ], kind, head[STATUS], now, head[PROGRESS], attempt or head[ATTEMPT],
        name or false, message or false, data or false})
    gather(fresh, n, event)
    touch(n)
end

-- Queues (q) and tasks (t) that are paused
local PAUSED = ROOT .. 'paused'
local paused
local function is_paused(kind, name)
    if paused == nil then
        local all = redis.call('HGETALL', PAUSED)
        paused = #all > 0 and {q = {}, t = {}}
        for position = 1, #all, 2 do
            paused[string.sub(all[position], 1, 1)][string.sub(all[position], 2)] = true
        end
    end
    return paused and paused[kind][name]
end

-- Take the first jobs of the queues that may go, in the queues' order. ARGV: worker, lease, request, limit, queues.
local again = repeated()
if again then
    return again
end
local limit, numbers, seen, SET_ASIDE = tonumber(ARGV[7]), {}, {}, 5000
local any_paused = redis.call('EXISTS', PAUSED) == 1

-- Return the first jobs of a plain line; those of paused tasks leave it.
local function plain_line(queue, priority, want)
    local key = pending(queue, priority)
    if not any_paused then
        return redis.call('ZRANGE', key, 0, want - 1)
    end
    local line, offset = {}, 0
    while #line < want and offset < SET_ASIDE do
        local some = redis.call('ZRANGE', key, offset, offset + want - 1)
        load(some)
        for _, n in ipairs(some) do
            if is_paused('t', place(heads[n][PLACE]).task) then
                set_aside(n)
            elseif #line < want then
                line[#line + 1] = n
            end
        end
        offset = offset + want
        if #some < want then
            break
        end
    end
    return line
end

local function look_into(queue)
    for _, priority in ipairs(redis.call('ZRANGE', ROOT .. 'q:' .. queue, 0, -1)) do
        local want = limit - #numbers
        if want <= 0 then
            return
        end
        local line, name = plain_line(queue, priority, want), priority .. ':' .. queue
        if redis.call('EXISTS', ROOT .. 'lr:' .. name, ROOT .. 'lc:' .. name) > 0 then
            local serving, rank = serving_room(), lane_room().rank_of(queue, priority)
            serving.alternate(rank, line, serving.serve(rank, want), numbers, limit)
        else
            for _, n in ipairs(line) do
                numbers[#numbers + 1] = n
            end
        end
    end
end

for _, queue in ipairs(cmsgpack.unpack(ARGV[8])) do
    if not seen[queue] and not (any_paused and is_paused('q', queue)) then
        seen[queue] = true
        look_into(queue)
    end
end
load(numbers)
return take(numbers)

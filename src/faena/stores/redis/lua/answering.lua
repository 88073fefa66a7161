-- What callers are told.

-- Return whole jobs by their numbers (false: none), as one MessagePack array.
local function answer(numbers)
    local there, results, checkpoints = {}, {}, {}
    for _, n in ipairs(numbers) do
        if n and heads[n] then
            there[#there + 1] = n
        end
    end
    local bodies = {}
    for position, body in ipairs(ask(BODIES, there)) do
        bodies[there[position]] = body
        local head = heads[there[position]]
        if head[HAS_RESULT] then
            results[there[position]] = redis.call('HGET', RESULTS, there[position])
        end
        if head[HAS_CHECKPOINT] then
            checkpoints[there[position]] = redis.call('HGET', CHECKPOINTS, there[position])
        end
    end
    local parts = {array(#numbers)}
    for _, n in ipairs(numbers) do
        if n and heads[n] then
            parts[#parts + 1] = '\150' .. raw[n] .. place(heads[n][PLACE]).packed .. bodies[n] .. bytes(results[n])
                .. bytes(checkpoints[n])
        else
            parts[#parts + 1] = '\192'
        end
    end
    return table.concat(parts)
end

-- Return what engines are told of jobs.
local function deliveries(numbers)
    local parts = {array(#numbers)}
    for _, n in ipairs(numbers) do
        local head = heads[n]
        parts[#parts + 1] = '\148' .. cmsgpack.pack(head[ID], head[PRIORITY]) .. place(head[PLACE]).packed
    end
    return table.concat(parts)
end

-- What the holders of jobs ask: it counts only while they hold them.

-- Do what is asked ({id, token, …} each) of the jobs that are still held, by calling `act` with a job's number, its head
-- and what was asked. Returns s(tale), h(eld) or c(ancel requested) for each.
local function of_held(asked, act)
    local ids, answers = {}, {}
    for number, one in ipairs(asked) do
        ids[number] = one[1]
    end
    for number, n in ipairs(find_ids(ids)) do
        local head = n and heads[n]
        if head and head[STATUS] == PROCESSING and head[TOKEN] == asked[number][2] then
            act(n, head, asked[number])
            answers[number] = head[CANCEL_REQUESTED] == 1 and 'c' or 'h'
        else
            refused = refused + 1
            answers[number] = 's'
        end
    end
    return table.concat(answers)
end

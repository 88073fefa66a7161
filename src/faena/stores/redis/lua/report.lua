-- Record what running jobs tell. ARGV: reports (id, token, number, progress, message, events, checkpoint's place in
-- ARGV), then checkpoints. Answers s(tale), h(eld) or c(ancel requested) for each.
local reports, ids, answers = cmsgpack.unpack(ARGV[4]), {}, {}
for number, report in ipairs(reports) do
    ids[number] = report[1]
end
local function note(n, head, report)
    head[REPORTED] = report[3]
    local progress, message = head[PROGRESS], head[MESSAGE]
    if report[4] then
        head[PROGRESS] = math.max(progress, math.min(report[4], 100))
    end
    if report[5] then
        head[MESSAGE] = report[5]
    end
    if head[PROGRESS] ~= progress or head[MESSAGE] ~= message then
        tell(n, EVENT_PROGRESS, false, head[MESSAGE])
    end
    for _, event in ipairs(report[6]) do
        tell(n, event[1], event[2], event[3], event[4])
    end
    if report[7] then
        head[HAS_CHECKPOINT] = true
        gather(sets, CHECKPOINTS, n, ARGV[4 + report[7]])
    end
    touch(n)
end
for number, n in ipairs(find_ids(ids)) do
    local head, report = n and heads[n], reports[number]
    if head and head[STATUS] == PROCESSING and head[TOKEN] == report[2] then
        if report[3] > head[REPORTED] then
            note(n, head, report)
        end
        answers[number] = head[CANCEL_REQUESTED] == 1 and 'c' or 'h'
    else
        refused = refused + 1
        answers[number] = 's'
    end
end
flush()
return table.concat(answers)

-- Record what running jobs tell. ARGV: reports (id, token, number, progress, message, events, checkpoint's place in
-- ARGV), then checkpoints. Answers as `of_held`.
local answers = of_held(cmsgpack.unpack(ARGV[4]), function(n, head, report)
    if report[3] <= head[REPORTED] then
        return
    end
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
end)
flush()
return answers

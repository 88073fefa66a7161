-- Count the starts of held jobs under their rates once more. ARGV: (id, token)s. Answers as `of_held`.
local answers = of_held(cmsgpack.unpack(ARGV[4]), function(n, head)
    if head[GATES] then
        gate_room().note_start(n, head, true)
    end
end)
flush()
if rooms.gates then
    even_if_full()  -- a start that was late must count, or more start than the rate lets
    rooms.gates.write_logs()
end
return answers

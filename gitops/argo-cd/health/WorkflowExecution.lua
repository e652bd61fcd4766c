-- Health of a WorkflowExecution for Argo CD (docs/gitops.md).
local function condition(kind)
  for _, item in ipairs(obj.status.conditions or {}) do
    if item.type == kind then return item end
  end
  return {status = "Unknown", message = ""}
end

local function health(status, message)
  return {status = status, message = message or ""}
end

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "The run is being cancelled.")
end
if obj.status == nil or obj.status.phase == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "The operator has not seen this version yet.")
end

local phase = obj.status.phase
local message = condition("Completed").message
local stalled = condition("Stalled")
if stalled.status == "True" then return health("Degraded", stalled.message) end
if phase == "Failed" then return health("Degraded", message) end
if phase == "Paused" then return health("Suspended", message) end
if phase == "Completed" or phase == "Cancelled" then
  for _, kind in ipairs({"SpecChanged", "OutputLost"}) do
    local note = condition(kind)
    if note.status == "True" then message = note.message end
  end
  return health("Healthy", message)
end
return health("Progressing", message)

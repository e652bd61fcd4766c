-- Health of a WorkflowRunner for Argo CD (docs/gitops.md).
local function condition(kind)
  for _, item in ipairs(obj.status.conditions or {}) do
    if item.type == kind then return item end
  end
  return {status = "Unknown", message = ""}
end

local function health(status, message)
  return {status = status, message = message or ""}
end

if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "The operator has not seen this version yet.")
end

local ready = condition("Ready")
if ready.status ~= "True" then return health("Degraded", ready.message) end
if obj.spec.paused == true then return health("Suspended", ready.message) end
-- No run waits for Stigmer: trouble with callbacks is told, and nothing more.
local callbacks = condition("CallbacksReady")
if callbacks.status == "False" then return health("Healthy", callbacks.message) end
return health("Healthy", ready.message)

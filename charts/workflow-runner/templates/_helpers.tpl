{{- define "workflow-runner.name" -}}
{{ .Values.nameOverride | default "workflow-runner" | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "workflow-runner.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "workflow-runner.name" .) .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name (include "workflow-runner.name" .) | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "workflow-runner.selector" -}}
app.kubernetes.io/name: {{ include "workflow-runner.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "workflow-runner.labels" -}}
{{ include "workflow-runner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Of Temporal's development server, which no Service of the operator must find. */ -}}
{{- define "workflow-runner.temporalSelector" -}}
app.kubernetes.io/name: {{ include "workflow-runner.name" . }}-temporal
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "workflow-runner.notForProduction" -}}
workflowrunner.stigmer.ai/not-for-production: "true"
{{- end }}

{{- define "workflow-runner.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "workflow-runner.caSecret" -}}
{{ include "workflow-runner.fullname" . }}-sink
{{- end }}

{{- define "workflow-runner.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "workflow-runner.fullname" .) }}{{ else }}{{ required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}{{ end -}}
{{- end }}

{{- /* The namespaces of a namespaced install as JSON: the watched ones and the operator's own. */ -}}
{{- define "workflow-runner.namespaces" -}}
{{ append .Values.watchNamespaces .Release.Namespace | uniq | toJson }}
{{- end }}

{{- /* What the operator may do wherever executions are. */ -}}
{{- define "workflow-runner.rules" -}}
# delete: spec.ttlAfterFinished may ask for the resource itself to go.
- apiGroups: [workflowrunner.stigmer.ai]
  resources: [workflowexecutions]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [workflowrunner.stigmer.ai]
  resources: [workflowexecutions/status, workflowrunners/status]
  verbs: [patch]
# A Job names its execution as the owner that waits for it, which the API server allows to those who may set finalizers.
- apiGroups: [workflowrunner.stigmer.ai]
  resources: [workflowexecutions/finalizers]
  verbs: [update]
- apiGroups: [workflowrunner.stigmer.ai]
  resources: [workflowrunners]
  verbs: [get, list, watch]
# patch: a paused run's Job is suspended.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
# Documents and inputs that executions name, and inputs too large for an annotation.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, delete]
# list: why a pod cannot start.
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end }}

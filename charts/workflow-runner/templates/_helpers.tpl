{{- define "workflow-runner.fullname" -}}
{{- if contains "workflow-runner" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-workflow-runner" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "workflow-runner.selector" -}}
app.kubernetes.io/name: workflow-runner
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "workflow-runner.labels" -}}
{{ include "workflow-runner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "workflow-runner.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "workflow-runner.caSecret" -}}
{{ include "workflow-runner.fullname" . }}-sink
{{- end }}

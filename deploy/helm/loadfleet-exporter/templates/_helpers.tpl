{{- define "loadfleet-exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 of the 63 characters of a label, since the names of dashboards and of shards' pods are longer. */}}
{{- define "loadfleet-exporter.fullname" -}}
{{- $name := include "loadfleet-exporter.name" . }}
{{- $name = contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "loadfleet-exporter.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{- define "loadfleet-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "loadfleet-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* All labels of an object. Takes the root and the object's own labels. Selector labels cannot be overridden. */}}
{{- define "loadfleet-exporter.labels" -}}
{{- $usual := dict
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/component" "exporter"
  "app.kubernetes.io/part-of" "loadfleet"
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
}}
{{- merge (include "loadfleet-exporter.selectorLabels" .root | fromYaml) .labels .root.Values.commonLabels $usual | toYaml }}
{{- end }}

{{/* The URL of the store that exporters share; empty if there is none. */}}
{{- define "loadfleet-exporter.store" -}}
{{- .Values.state.url | default ((.Values.config).state).url | default "" }}
{{- end }}

{{/* The kind of volume for the state; empty if the pod stores no state. */}}
{{- define "loadfleet-exporter.volume" -}}
{{- if not (or .Values.demo (include "loadfleet-exporter.store" .)) }}
{{- if not .Values.persistence.enabled }}empty
{{- else if gt (int .Values.shards) 1 }}templates
{{- else }}claim
{{- end }}
{{- end }}
{{- end }}

{{- define "loadfleet-exporter.secret" -}}
{{- .Values.existingSecret | default (.Values.secrets | empty | ternary "" (include "loadfleet-exporter.fullname" .)) }}
{{- end }}

{{/* True if anything is configured; otherwise no exporter is started. */}}
{{- define "loadfleet-exporter.configured" -}}
{{- with .Values }}
{{- if or .demo .config .existingConfigMap .extraEnv .extraEnvFrom }}true{{ end }}
{{- end }}
{{- end }}

{{/* The path prefix of all pages: the route prefix, or else the path of the external URL. */}}
{{- define "loadfleet-exporter.prefix" -}}
{{- $web := (.Values.config).web | default dict }}
{{- $path := get (urlParse (get $web "external_url" | default "")) "path" }}
{{- printf "/%s" (get $web "route_prefix" | default $path | trimAll "/") | trimSuffix "/" }}
{{- end }}

{{/* Checks that the JSON schema cannot express. */}}
{{- define "loadfleet-exporter.check" -}}
{{- $store := include "loadfleet-exporter.store" . }}
{{- $sharding := (.Values.config).sharding | default dict }}
{{- with .Values }}
{{- if and .demo (or .config .existingConfigMap) }}
{{- fail "demo: polls a simulated fleet, so config and existingConfigMap must be empty" }}
{{- end }}
{{- if and .config .existingConfigMap }}
{{- fail "existingConfigMap: replaces config; give only one of them" }}
{{- end }}
{{- if and .existingSecret .secrets }}
{{- fail "existingSecret: replaces secrets; give only one of them" }}
{{- end }}
{{- if and .state.passwordKey (not (or .existingSecret .secrets)) }}
{{- fail "state.passwordKey: is a key of a Secret, and there is none; give existingSecret" }}
{{- end }}
{{- if and (gt (int .replicas) 1) (gt (int .shards) 1) }}
{{- fail "replicas: must be 1 with shards; for two pods per shard install a second release with the same state.url" }}
{{- end }}
{{- if and (gt (int .replicas) 1) (not $store) }}
{{- fail "replicas: more than 1 need state.url, a Redis or Valkey that they share; otherwise each would make all calls" }}
{{- end }}
{{- if and (gt (int .shards) 3) (not $store) (not (get $sharding "accept_lockout_risk")) }}
{{- fail "shards: more than 3 need state.url; otherwise, with a wrong token, each makes a refused call and the vendor may block the address" }}
{{- end }}
{{- if and .persistence.existingClaim (gt (int .shards) 1) }}
{{- fail "persistence.existingClaim: shards cannot share a claim; remove it, and each shard gets its own claim" }}
{{- end }}
{{- $job := or .serviceMonitor.jobLabel .prometheusRule.groups (contains "loadfleet" (include "loadfleet-exporter.fullname" $)) }}
{{- if and .prometheusRule.enabled (not $job) }}
{{- fail "fullnameOverride: must contain loadfleet, which the alerts look for in the job's name; or set serviceMonitor.jobLabel" }}
{{- end }}
{{- if and .ingress.enabled (gt (int .shards) 1) }}
{{- fail "ingress.enabled: cannot be used with shards, since each request could reach another shard" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The specification of a claim for the state. */}}
{{- define "loadfleet-exporter.claim" -}}
{{- with .Values.persistence -}}
accessModes:
  {{- toYaml .accessModes | nindent 2 }}
{{- with .storageClass }}
storageClassName: {{ quote . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end }}
{{- end }}

{{- define "loadfleet-exporter.serviceAccount" -}}
{{- with .Values.serviceAccount }}
{{- .name | default (.create | ternary (include "loadfleet-exporter.fullname" $) "") }}
{{- end }}
{{- end }}

{{/* The beginning of an object. Takes the root, the API version, the kind, and additional metadata. */}}
{{- define "loadfleet-exporter.object" -}}
apiVersion: {{ .apiVersion }}
kind: {{ .kind }}
metadata:
  name: {{ .name | default (include "loadfleet-exporter.fullname" .root) | quote }}
  namespace: {{ .namespace | default (include "loadfleet-exporter.namespace" .root) | quote }}
  labels:
    {{- include "loadfleet-exporter.labels" (dict "root" .root "labels" (.labels | default dict)) | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

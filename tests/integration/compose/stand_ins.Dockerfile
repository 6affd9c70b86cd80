# Debian's Prometheus and Alertmanager in place of their makers' images, which a registry would have to give. Called as
# those are: the program is the entry, the user is nobody, and data are in /prometheus and /alertmanager.
FROM debian:bookworm-slim AS watchers
RUN apt-get update && \
    apt-get install --yes --no-install-recommends prometheus prometheus-alertmanager && rm -rf /var/lib/apt/lists/* && \
    install --directory --owner=65534 --group=65534 /prometheus /alertmanager
USER 65534:65534

FROM watchers AS prometheus
ENTRYPOINT ["prometheus"]

FROM watchers AS alertmanager
ENTRYPOINT ["prometheus-alertmanager"]

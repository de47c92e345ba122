# The teacher service. Build: docker build -t ration .
FROM python:3.11-slim

RUN useradd --create-home --uid 10001 ration
# A new volume takes over the owner of the folder that it covers: without this it would be root's.
RUN install -d -o ration -g ration -m 700 /data
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY shared shared
COPY teacher_service teacher_service
COPY student_trainer student_trainer
# torch and torchvision in one command, so that their builds match.
RUN pip install --no-cache-dir --constraint constraints.txt torch torchvision .

USER ration
# Keys, ledger and signing key live here: mount a volume that is backed up.
ENV TEACHER_DATA_DIR=/data TEACHER_HOST=0.0.0.0 TEACHER_PORT=8000
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["teacher-service"]
CMD ["serve"]

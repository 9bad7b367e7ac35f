"""The storage.yaml that ``storage-plugins init`` writes."""

STORAGE_YAML = """\
# Where assemblies are kept. To move to another place, change `default:`.
default: scratch

stores:
  # a folder of this computer, or of a file server; relative to this file
  scratch: {backend: local, root: ./assemblies}

  # a bucket, with credentials as the AWS tools find them (`aws configure`)
  # lab: {backend: s3, bucket: my-bucket/my-folder, contact: data@lab.example}

  # a server of your own that speaks S3 (Ceph, MinIO)
  # ours: {backend: s3, bucket: my-bucket, endpoint_url: "https://s3.lab.example"}
"""
